// Gradient matching through more weight matrices than a linear head's: hidden layers of a head, an encoder below it.
// The derivative of a distance between gradients is a second derivative, taken by autograd through the first one
// written out.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/kernels/linear_head_gradient.hpp"
#include "retort/models/head_pass.hpp"

namespace retort {

// Floats of a head's gradient: of each layer [out, in + 1], one after the other; the last column is the bias's.
std::int64_t gradient_length(std::int64_t classes, std::int64_t width, std::vector<std::int64_t> const& hidden);
// Views of flat gradients [k, gradient_length] as [k, out, in + 1], one a layer.
std::vector<at::Tensor> layer_gradients(at::Tensor const& flat, Head const& head);

// The distance (methods 1.4.3) of the mean gradients of k classes, n rows each in `pass`, from `real`: one [k, out, in
// + 1] a weight matrix; rows needs only [k, out, in]. -> [k] double, differentiable in the pass. rows sums over the
// rows of all matrices, flat is one cosine of everything. The synthetic gradient, as large as the weights, is never
// formed: its product with the real one and its norm come from the n rows that it is the sum of.
at::Tensor gradient_distance(LayerPass const& pass, std::vector<at::Tensor> const& real, std::int64_t k,
                             GradientMetric metric);

// match_class_gradients for a head of any depth; `real` [k, gradient_length]. In closed form where the head is linear.
FeatureMatch match_head_gradients(at::Tensor const& features, std::int64_t first_class, Head const& head,
                                  at::Tensor const& real, GradientMetric metric);
// The same by second derivatives at any depth: what the tests hold the closed form against.
FeatureMatch match_layer_gradients(at::Tensor const& features, std::int64_t first_class, Head const& head,
                                   at::Tensor const& real, GradientMetric metric);

}  // namespace retort
