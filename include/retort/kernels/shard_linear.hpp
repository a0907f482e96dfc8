// A Linear layer in training on the rows of several virtual shards at once, with the bits that each shard alone would
// give.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace retort {

// input [n, in] @ weight [out, in]^T + bias [out], where there is one, -> [n, out], float32, differentiable in `input`.
// The rows are `shards` (a power of two) shards of n / shards rows, one after the other.
//
// The backward writes the gradients of weight and bias to their .grad, over what is there: each shard's sum over its
// rows in order, the shards' sums added in a binary tree, tile by tile, so that each number is written once and none is
// read. The parameters must be used once a backward (as in GradientArena::begin_block); autograd gets no gradient of
// them. Rows of results do not depend on other rows. So any cut of a batch's shards into blocks gives the same bits,
// once the blocks' gradients are added by the rest of the tree. On a GPU, and where weight has no .grad, this is
// at::linear, whose gradients autograd adds. Throws Failure(failed) when shapes disagree.
at::Tensor shard_linear(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias, std::int64_t shards);

// What the layer is made of, without autograd: input @ weight^T + bias [n, out], upstream [n, out] @ weight [n, in],
// and the gradients as above, of weight [out, in] to `weight_gradient` and of bias to `bias_gradient`, where it is
// defined.
at::Tensor multiply_rows(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias);
at::Tensor multiply_rows_back(at::Tensor const& upstream, at::Tensor const& weight);
void write_gradients(at::Tensor const& upstream, at::Tensor const& input, std::int64_t shards,
                     at::Tensor const& weight_gradient, at::Tensor const& bias_gradient);

}  // namespace retort
