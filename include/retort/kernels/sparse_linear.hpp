// The first layer on cells that stay sparse: non-zeros times rows of the weight.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "retort/cells/csr_block.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// cells [n, genes] @ weight [genes, out] + bias [out] -> [n, out], float32, differentiable in weight and bias (backward
// is hand-written). A row's result depends on that row alone, so blocks may be cut anywhere and threads change no bit.
//
// `weight_gradient`, where given, is a view like weight to which the backward adds, and autograd gets no gradient of
// weight: the sum over the batch of one gene is formed first and added once, as accumulation by autograd would, without
// an array of zeros of the weight's size. Throws Failure(failed) when shapes disagree. Off the CPU at::embedding_bag
// does the work and weight_gradient is not used.
//
// With `shards` besides, the cells are those of so many (a power of two) shards of a block of the arena, one after the
// other, and both gradients are written, to weight_gradient and bias.grad(), over what is there: the tree over shards,
// as shard_linear does.
at::Tensor sparse_linear(CsrBlock const& cells, at::Tensor const& weight, at::Tensor const& bias,
                         at::Tensor const& weight_gradient = {}, std::int64_t shards = 0);

// The forward product on the CPU, without autograd: rows [rows.begin, rows.end) of `cells` to result [rows.size(),
// out].
void sparse_product(CsrBlock const& cells, RowRange rows, float const* weight, float const* bias, std::int64_t out,
                    float* result);

// A weight [genes, out] rounded to bfloat16 for inference: half the bytes to stream, which is what the product waits
// for.
class HalfWeight {
 public:
  // `weight` is float32 on the CPU. Throws Failure(usage) where `out` is not a multiple of 32.
  explicit HalfWeight(at::Tensor const& weight);
  // As sparse_product above; values are rounded as well, sums are float32.
  void product(CsrBlock const& cells, RowRange rows, float const* bias, float* result) const;

 private:
  at::Tensor words_;  // [genes, out / 2], int32
};

}  // namespace retort
