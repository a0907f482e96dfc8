// How much of the signal is left at each time of a diffusion.
#pragma once

#include <cstdint>
#include <vector>

#include "retort/run/index.hpp"

namespace retort {

// Linear beta schedule (Ho et al. 2020), t = 1 .. steps; float64 products. scDD's beta_max is 0.1 (its eq 1-2),
// scRDiT's 0.02.
class NoiseSchedule {
 public:
  explicit NoiseSchedule(std::int64_t steps = 1000, double beta_min = 1e-4, double beta_max = 0.1);
  std::int64_t steps() const { return static_cast<std::int64_t>(alpha_bar_.size()); }
  // The share of the signal's variance that is left at t.
  double alpha_bar(std::int64_t t) const { return alpha_bar_[index(t - 1)]; }
  // The variance that the step to t adds.
  double beta(std::int64_t t) const { return beta_[index(t - 1)]; }

 private:
  std::vector<double> beta_, alpha_bar_;
};

}  // namespace retort
