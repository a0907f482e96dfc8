// The moving average of weights that diffusion models are drawn from (Ho et al. 2020).
#pragma once

#include <ATen/core/Tensor.h>

#include "retort/ranks/gradient_arena.hpp"

namespace retort {

// average = keep * average + (1 - keep) * weights after each step, begun with the weights it is made of. The ranks of a node share
// it as they share the weights, and each updates its slice. Each call is collective.
class MovingAverage {
 public:
  // The arena must outlive it and hold its weights already.
  MovingAverage(GradientArena& arena, double keep);
  // After an optimiser's step.
  void update();
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
