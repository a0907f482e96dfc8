// New cells from a noise predictor, step by step: DDPM (Ho et al. 2020) and DDIM (Song et al. 2021) as scRDiT has them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "retort/generate/row_noise.hpp"
#include "retort/models/scrdit_schedule.hpp"

namespace retort {

// Every time here is scRDiT's index (models/scrdit_schedule.hpp).

// x float32 [n, width] at `index`, int64 [n], all the same -> the noise in x [n, width]; all on the CPU.
using NoisePredictor = std::function<at::Tensor(at::Tensor const& x, at::Tensor const& index)>;

// One call of the predictor: from index `from` to index `to`, below it.
struct SamplerVisit {
  std::int64_t from, to;
};
// What DDIM visits of 0 .. steps - 1: multiples of `stride`, and 1 after 0. stride 10 of 1000 is 100 visits, 990 -> 980
// .. 10 -> 1 -> 0; stride 1 is all. Throws Failure(usage) for a stride that is not in 1 .. steps - 1.
std::vector<SamplerVisit> ddim_visits(std::int64_t steps, std::int64_t stride);

// Both draw x [rows.count, width] from nothing but noise, row_noise(seed, rows, width, i) at index i. The rows of a
// call pass the predictor together: cut a run into the same blocks on any number of ranks where the same bits are
// wanted. No gradients.

// Index steps - 1 down to 1: x = (x - beta / sqrt(1 - alpha_hat) eps) / sqrt(1 - beta) + sqrt(beta) noise, none at the
// last.
at::Tensor sample_ddpm(NoisePredictor const& predict, NoiseSchedule const& schedule, GeneratedRows const& rows,
                       std::int64_t width, std::uint64_t seed);

struct DdimSettings {
  std::int64_t stride = 10;
  double eta = 1;  // 0: the start alone decides; 1: DDPM's variance
};
// With x0 = (x - sqrt(1 - a) eps) / sqrt(a), a and b the signal left at a visit's two ends, and sigma = eta sqrt((1 -
// b) / (1 - a)) * sqrt(1 - a / b): x = sqrt(b) x0 + sqrt(1 - b - sigma^2) eps + sigma noise, none at the last.
at::Tensor sample_ddim(NoisePredictor const& predict, NoiseSchedule const& schedule, DdimSettings const& settings,
                       GeneratedRows const& rows, std::int64_t width, std::uint64_t seed);

}  // namespace retort
