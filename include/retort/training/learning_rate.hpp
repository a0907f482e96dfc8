// The learning rate over a run.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace retort {

// A linear warm-up, then half a cosine down to zero (Loshchilov & Hutter 2017), at step 0 .. steps - 1; the first
// `warm_up_share` of the steps rise to `peak`.
inline double learning_rate(std::int64_t step, std::int64_t steps, double peak, double warm_up_share) {
  auto const warm_up = static_cast<std::int64_t>(std::ceil(warm_up_share * static_cast<double>(steps)));
  if (step < warm_up) return peak * static_cast<double>(step + 1) / static_cast<double>(warm_up + 1);
  double const done =
      static_cast<double>(step - warm_up) / static_cast<double>(std::max<std::int64_t>(1, steps - warm_up));
  return peak * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

// scLDM's (methods 3.6): a tenth of the steps rises from a hundredth of `peak`. Held, as its autoencoder's: the rate
// then falls in the last tenth alone, by the root of what is done to a tenth. As its diffusion's: half a cosine to a
// tenth.
enum class AfterWarmUp { hold, cosine };
inline double scldm_rate(std::int64_t step, std::int64_t steps, double peak, AfterWarmUp after) {
  auto const k = static_cast<double>(step), all = static_cast<double>(steps),
             warm_up = static_cast<double>(std::max<std::int64_t>(1, steps / 10));
  if (k < warm_up) return peak * (0.01 + 0.99 * k / warm_up);
  if (after == AfterWarmUp::cosine)
    return peak * (0.1 + 0.45 * (1 + std::cos(std::numbers::pi * (k - warm_up) / std::max(1.0, all - warm_up))));
  return peak * (1 - 0.9 * std::sqrt(std::max(0.0, (k - 0.9 * all) / (0.1 * all))));
}

}  // namespace retort
