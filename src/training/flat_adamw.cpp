#include "retort/training/flat_adamw.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace retort {

FlatAdamw::FlatAdamw(at::Tensor weights, AdamwSettings const& settings)
    : weights_(std::move(weights)),
      first_moment_(at::zeros_like(weights_)),
      second_moment_(at::zeros_like(weights_)),
      steps_(at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(weights_.device()))),
      settings_(settings) {}

FlatAdamw::FlatAdamw(GradientArena& arena, AdamwSettings const& settings)
    : weights_(arena.weights()),
      first_moment_(arena.shared_array()),
      second_moment_(arena.shared_array()),
      steps_(at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(weights_.device()))),
      settings_(settings),
      arena_(&arena) {}

std::map<std::string, at::Tensor> FlatAdamw::state() const {
  return {{"weights", weights_},
          {"first_moment", first_moment_},
          {"second_moment", second_moment_},
          {"adam_steps", steps_}};
}

void FlatAdamw::step(at::Tensor const& gradient, double rate) {
  at::NoGradGuard no_grad;
  steps_.add_(1);  // the operator expects the number of the step that it takes
  auto const mine = [&](at::Tensor const& flat) { return arena_ ? arena_->own_part(flat) : flat; };
  if (at::Tensor const weights = mine(weights_); weights.numel() > 0)
    at::_fused_adamw_({weights}, {mine(gradient)}, {mine(first_moment_)}, {mine(second_moment_)}, {}, {steps_}, rate,
                      settings_.beta1, settings_.beta2, settings_.weight_decay, settings_.epsilon, false, false);
  if (arena_) arena_->fence();
}

at::Tensor clipped(at::Tensor const& gradient, double norm, double largest) {
  if (largest <= 0 || norm <= largest) return gradient;
  at::NoGradGuard no_grad;
  return gradient * (largest / norm);
}

}  // namespace retort
