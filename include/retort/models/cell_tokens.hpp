// The tokens that scLDM's encoder sees of some cells (methods 3.1).
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "retort/cells/csr_block.hpp"
#include "retort/kernels/token_attention.hpp"
#include "retort/models/scldm_vae.hpp"

namespace retort {

struct TokensOfCells {
  std::shared_ptr<CellTokens const> cells;  // row 0 is the pad, row g + 1 is gene g
  at::Tensor rows;                          // int64 [tokens]: the same rows
  at::Tensor log_counts;                    // [tokens]: log(1 + count)
};

// Equal tokens are one with their number as weight: all pads of a cell, and under log1p all genes it does not express,
// whose vectors are zero. A cell without any count has one pad. Throws Failure(bad_input) where a cell expresses more
// genes than shape.length.
TokensOfCells cell_tokens(CsrBlock const& counts, ScldmVaeShape const& shape);

// int64 [nonzeros]: row * genes + gene of each.
at::Tensor nonzero_places(CsrBlock const& cells);

}  // namespace retort
