// Gradient matching through a linear softmax head in closed form (methods 1.4.6): no double back-propagation.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace retort {

// How two gradients of the head are compared (methods 1.4.3): rows sums 1 - cos over the rows of the weight's gradient,
// as the reference code of dataset condensation does (biases count nothing); flat is one cosine of weight and bias
// together, as scDD's eq 5 is written. Both add cosine_guard to the product of norms.
enum class GradientMetric { rows, flat };
inline constexpr double cosine_guard = 1e-6;  // of dataset condensation's reference code

// "rows" or "flat". Throws Failure(usage) with the setting's name.
GradientMetric gradient_metric(std::string const& text, std::string const& setting);

// Gradients of the mean cross-entropy of softmax(f W^T + b), class by class. `features` [k * n, width] holds n rows of
// class `first_class`, then n of the next, k classes in all; weight [classes, width], bias [classes]; float or double.
// -> [k, classes, width + 1]: entry [c] is of class first_class + c, and the last column is the bias's gradient.
at::Tensor class_gradients(at::Tensor const& features, std::int64_t first_class, std::int64_t k,
                           at::Tensor const& weight, at::Tensor const& bias);

struct FeatureMatch {
  at::Tensor losses;         // [k], one a class
  at::Tensor gradient;       // [k * n, width]: the derivative of the sum of losses by the features
  at::Tensor by_cells = {};  // [k * n, genes]: by the cells; what a loss does not see is undefined
};

// The distance of class_gradients(features) from `real` [k, classes, width + 1], and its derivative by the features.
FeatureMatch match_class_gradients(at::Tensor const& features, std::int64_t first_class, at::Tensor const& weight,
                                   at::Tensor const& bias, at::Tensor const& real, GradientMetric metric);

}  // namespace retort
