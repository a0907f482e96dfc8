#include "retort/training/moving_average.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace retort {

MovingAverage::MovingAverage(GradientArena& arena, double keep)
    : arena_(arena), keep_(keep), values_(arena.shared_array()) {
  at::NoGradGuard no_grad;
  arena_.own_part(values_).copy_(arena_.own_part(arena_.weights()));
  arena_.fence();
}

void MovingAverage::update(std::int64_t step) {
  at::NoGradGuard no_grad;
  double const keep = std::min(keep_, static_cast<double>(1 + step) / static_cast<double>(10 + step));
  arena_.own_part(values_).lerp_(arena_.own_part(arena_.weights()), 1 - keep);
  arena_.fence();  // a checkpoint may follow, which one rank writes
}

void MovingAverage::take_over() {
  at::NoGradGuard no_grad;
  arena_.own_part(arena_.weights()).copy_(arena_.own_part(values_));
  arena_.fence();
}

}  // namespace retort
