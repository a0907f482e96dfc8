// Attention of queries that all cells share to the few tokens that each cell has.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace retort {

// The tokens of some cells. Cell c has tokens [indptr[c], indptr[c + 1]), at least one.
struct CellTokens {
  std::vector<std::int64_t> indptr{0};
  std::vector<std::int32_t> rows;    // which row of the tables a token is
  std::vector<float> logit_offsets;  // log of how many equal tokens this one stands for
  std::int64_t cells() const { return static_cast<std::int64_t>(indptr.size()) - 1; }
};

// A token of table row g, with a scale a and a slope b of its own, has under query j of head h the logit
//   a logits[g, h, j] + b slope_logits[h, j] + offset
// and the value a values[g, h] + b slope_values[h]. The result is the softmax-weighted mean of values:
// [cells, queries, heads * width], float32, differentiable in the tables, slopes, a and b (backward by hand).
//
//   logits [rows, heads, queries], values [rows, heads, width], slope_logits [heads, queries], slope_values [heads,
//   width], scales [tokens] or none (1), slopes [tokens] or none (0).
//
// Keys that are linear in a row of a table make attention of a cell cost tokens * (queries + width) * heads, however
// the row was made: scLDM's encoder (methods 3.2, 3.3) with its projections taken per gene, not per gene and cell, and
// its pads as one token. Nothing as large as tokens * queries is kept. On the CPU; a cell's result depends on that cell
// alone. Throws Failure(failed) when shapes disagree.
at::Tensor token_attention(std::shared_ptr<CellTokens const> const& tokens, at::Tensor const& logits,
                           at::Tensor const& values, at::Tensor const& scales = {}, at::Tensor const& slopes = {},
                           at::Tensor const& slope_logits = {}, at::Tensor const& slope_values = {});

}  // namespace retort
