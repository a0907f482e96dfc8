// AdamW on flat arrays (Loshchilov & Hutter 2019), by LibTorch's fused operator.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "retort/ranks/gradient_arena.hpp"

namespace retort {

struct AdamwSettings {
  double weight_decay = 0.01;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
};

// Holds first and second moments of flat weights, [length] float32. The update is element by element, so the same
// gradient gives the same bits on every rank.
class FlatAdamw {
 public:
  FlatAdamw(at::Tensor weights, AdamwSettings const& settings);
  // Collective. Of the arena's weights: the ranks of a node share the moments, and each updates its slice. The arena
  // must outlive it.
  FlatAdamw(GradientArena& arena, AdamwSettings const& settings);
  // weights -= rate * (decay * weights + corrected first moment / (sqrt(corrected second moment) + epsilon)).
  // Collective where it was made of an arena.
  void step(at::Tensor const& gradient, double rate);

  // All that step() changes, the weights too, by the names that checkpoints know it under; the tensors are those in
  // use.
  std::map<std::string, at::Tensor> state() const;

 private:
  at::Tensor weights_, first_moment_, second_moment_;  // [length]
  at::Tensor steps_;                                   // [], float32: how many were taken
  AdamwSettings settings_;
  GradientArena const* arena_ = nullptr;
};

// `gradient`, or where `norm`, its own, is above `largest`, a copy scaled to that; `largest` 0 is none. Never in place:
// the arena's sum lies in memory that the ranks of a node share.
at::Tensor clipped(at::Tensor const& gradient, double norm, double largest);

}  // namespace retort
