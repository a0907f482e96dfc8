// A Linear layer whose backward adds the weight's gradient where it belongs.
#pragma once

#include <ATen/core/Tensor.h>

namespace retort {

// input [n, in] @ weight [out, in]^T + bias [out], where there is one, -> [n, out], differentiable in all three. Where
// `weight_gradient` (a view like weight) is given, the backward forms the gradient of weight, where rows are few in
// pieces that stay in the cache, and adds it there, and autograd gets none: for large weights and few rows autograd's
// way (an array of the weight's size, then a sum of both) costs more memory traffic than the product. The sum of one
// batch is formed first and added once, as autograd does. On a GPU, under Autocast, or without weight_gradient, this is
// at::linear; where nothing is to be differentiated, a product of the same speed.
at::Tensor accumulating_linear(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias,
                               at::Tensor const& weight_gradient = {});

}  // namespace retort
