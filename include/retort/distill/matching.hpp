// What makes a synthetic class like the real one: losses on its features, with their derivatives in closed form.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

#include "retort/kernels/linear_head_gradient.hpp"
#include "retort/models/head_pass.hpp"

namespace retort {

// Distribution matching (scDD eq 4): || mean of synthetic features - mean of real features || a class, not squared.
// features [k * n, width] sorted by class, means [k, width]. Where the two means are equal the derivative is zero.
FeatureMatch match_class_means(at::Tensor const& features, at::Tensor const& means);

// Which losses are summed: "dm", "dc" (gradient matching, see match_class_gradients) or "dm+dc"; or "head"
// (HeadMatching), "genes" (GeneMatching) or both, "head+genes"; "none" leaves a set as it starts.
struct Matching {
  std::string name;
  bool means = false, gradients = false, head = false, genes = false;
  bool is_none() const { return !means && !gradients && !head && !genes; }
};
// Throws Failure(usage).
Matching matching_named(std::string const& name);

// What one iteration matches, all classes.
struct MatchTarget {
  at::Tensor means;  // [classes, width]
  Head head = {};    // of this iteration; undefined where gradients are not matched, or are by the set as a whole
  at::Tensor expert_gradients = {};  // [classes, gradient_length]
  GradientMetric metric = GradientMetric::rows;
  double feature_scale = 1;     // of what the head sees
  at::Tensor by_features = {};  // [rows of the set, width]: HeadMatching's derivative, or that of match_student_expert
  at::Tensor by_cells = {};     // [rows of the set, genes]: GeneMatching's, or EncoderMatching's
};

// The matching's loss of the classes [first_class, first_class + k), features [k * n, width].
FeatureMatch match(Matching const& matching, MatchTarget const& target, at::Tensor const& features,
                   std::int64_t first_class, std::int64_t k);

// The loss of a whole set, features [classes * n, width] sorted by class: the mean over `targets` of the sum over
// classes. States of a set are compared against the same targets, because the loss against one random head says little
// about the loss against another.
double matching_loss(Matching const& matching, std::span<MatchTarget const> targets, at::Tensor const& features);

}  // namespace retort
