// The moving average of weights that diffusion models are drawn from (Ho et al. 2020).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "retort/ranks/gradient_arena.hpp"

namespace retort {

// average = k * average + (1 - k) * weights after each step, begun with the weights it is made of; at step t (from 0) k
// is the smaller of `keep` and (1 + t) / (10 + t), so that a run that is short for its `keep` ends with the average of
// about its last tenth instead of with its first weights. The ranks of a node share it as they share the weights, and
// each updates its slice. Each call is collective.
class MovingAverage {
 public:
  // The arena must outlive it and hold its weights already.
  MovingAverage(GradientArena& arena, double keep);
  // After an optimiser's step `step`.
  void update(std::int64_t step);
  // The weights become the average.
  void take_over();
  // [length] float32: for checkpoints.
  at::Tensor values() const { return values_; }

 private:
  GradientArena const& arena_;
  double keep_;
  at::Tensor values_;
};

}  // namespace retort
