#include "retort/models/zero_negation.hpp"

#include <ATen/ATen.h>

#include "retort/run/error.hpp"

namespace retort {

at::Tensor negated_zeros(at::Tensor const& expression, double value) {
  if (value > 0)
    fail(ExitCode::usage,
         "zeros cannot be negated to {} (clamping sampled cells at 0 would not bring them back). Give a value below 0",
         value);
  return at::masked_fill(expression, expression == 0, value);
}

at::Tensor clamped_at_zero(at::Tensor const& samples) { return samples.clamp_min(0); }

}  // namespace retort
