// SiLU, alone and behind a LayerNorm, in training on the rows of several virtual shards at once: one pass over memory
// each way.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "retort/layers/layers.hpp"

namespace retort {

// SiLU(LayerNorm(x + added)) of x [n, width] and added [n, width], where there is one -> [n, width], float32,
// differentiable in both. The rows are `shards` (a power of two) shards of n / shards rows, one after the other.
//
// A row's result depends on that row alone. The backward writes the gradients of the norm's scale and shift to their
// .grad, over what is there: each shard's sum over its rows in order, the shards' sums added in a binary tree, as
// shard_linear does. On a GPU, under Autocast, with `shards` 0 and where the scale has no .grad, these are LibTorch's
// operators, whose gradients autograd adds.
at::Tensor silu_of_norm(LayerNorm const& norm, at::Tensor const& x, at::Tensor const& added, std::int64_t shards);

// SiLU(x), differentiable; an element's result depends on that element and its place in a row alone. On a GPU, under
// Autocast and with `shards` 0 at::silu.
at::Tensor silu(at::Tensor const& x, std::int64_t shards);

}  // namespace retort
