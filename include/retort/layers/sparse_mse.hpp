// The reconstruction error against cells that stay sparse.
#pragma once

#include <ATen/core/Tensor.h>

#include "retort/cells/csr_block.hpp"

namespace retort {

// mean over all n x genes entries of (reconstruction - cells)^2, a float32 scalar; reconstruction [n, genes] float32.
// Differentiable in the reconstruction by a hand-written gradient 2 (reconstruction - cells) / (n genes); the target is
// never densified. Sums a row in double. Throws Failure(failed) when shapes disagree.
at::Tensor sparse_mse(at::Tensor const& reconstruction, CsrBlock const& cells);
// The same of each of `shards` equal parts of the rows, [shards].
at::Tensor sparse_mse(at::Tensor const& reconstruction, CsrBlock const& cells, std::int64_t shards);

}  // namespace retort
