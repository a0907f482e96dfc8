// Losses that compare a synthetic class with the real one, class by class, with their derivatives in closed form.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "retort/kernels/linear_head_gradient.hpp"
#include "retort/models/head_pass.hpp"

namespace retort {

// Distribution matching (scDD eq 4): || mean of synthetic features - mean of real features || per class, not squared.
// features [k * n, width] sorted by class, means [k, width]. Where the two means are equal the derivative is zero.
FeatureMatch match_class_means(at::Tensor const& features, at::Tensor const& means);

// What the real cells of all classes give; what is undefined is not matched.
struct ClassTarget {
  at::Tensor means;                  // [classes, width]
  Head head = {};                    // whose gradients are matched
  at::Tensor expert_gradients = {};  // [classes, gradient_length]
  GradientMetric metric = GradientMetric::rows;
  double feature_scale = 1;  // of what the head sees
};

// The loss of the classes [first_class, first_class + k), features [k * n, width]: class means (dm), gradients (dc, see
// match_class_gradients), or both.
FeatureMatch match_classes(ClassTarget const& target, at::Tensor const& features, std::int64_t first_class,
                           std::int64_t k);

// The loss of a whole set, features [classes * n, width] sorted by class: the mean over `targets` of the sum over
// classes. States of a set are compared against the same targets, because the loss against one random head says little
// about the loss against another.
double class_loss(std::span<ClassTarget const> targets, at::Tensor const& features);

// The sum of two matches of the same rows; a derivative that neither has stays undefined.
FeatureMatch sum_of(FeatureMatch const& a, FeatureMatch const& b);

}  // namespace retort
