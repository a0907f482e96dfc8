// The learning rate over a run: a linear warm-up, then half a cosine down to zero (Loshchilov & Hutter 2017).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace retort {

// At step 0 .. steps - 1; the first `warm_up_share` of the steps rise to `peak`.
inline double learning_rate(std::int64_t step, std::int64_t steps, double peak, double warm_up_share) {
  auto const warm_up = static_cast<std::int64_t>(std::ceil(warm_up_share * static_cast<double>(steps)));
  if (step < warm_up) return peak * static_cast<double>(step + 1) / static_cast<double>(warm_up + 1);
  double const done = static_cast<double>(step - warm_up) / static_cast<double>(std::max<std::int64_t>(1, steps - warm_up));
  return peak * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

}  // namespace retort
