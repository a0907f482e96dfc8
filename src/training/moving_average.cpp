#include "retort/training/moving_average.hpp"

#include <ATen/ATen.h>

namespace retort {

MovingAverage::MovingAverage(GradientArena& arena, double keep) : arena_(arena), keep_(keep), values_(arena.shared_array()) {
  at::NoGradGuard no_grad;
  own(values_).copy_(own(arena_.weights()));
  arena_.fence();
}

void MovingAverage::update() {
  at::NoGradGuard no_grad;
  own(values_).lerp_(own(arena_.weights()), 1 - keep_);
  arena_.fence();  // a checkpoint may follow, which one rank writes
}

void MovingAverage::take_over() {
  at::NoGradGuard no_grad;
  own(arena_.weights()).copy_(own(values_));
  arena_.fence();
}

at::Tensor MovingAverage::own(at::Tensor const& flat) const {
  RowRange const slice = arena_.own_slice();
  return flat.narrow(0, slice.begin, slice.size());
}

}  // namespace retort
