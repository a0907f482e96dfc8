#include "retort/models/noise_schedule.hpp"

namespace retort {

NoiseSchedule::NoiseSchedule(std::int64_t steps, double beta_min, double beta_max) {
  double product = 1;
  for (std::int64_t t = 0; t < steps; ++t) {
    double const share = steps > 1 ? static_cast<double>(t) / static_cast<double>(steps - 1) : 0;
    beta_.push_back(beta_min + (beta_max - beta_min) * share);
    product *= 1 - beta_.back();
    alpha_bar_.push_back(product);
  }
}

}  // namespace retort
