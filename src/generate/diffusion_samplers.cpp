#include "retort/generate/diffusion_samplers.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr std::int64_t start = 0;  // the step that names a sampler's first noise; no visit adds noise at index 0

at::Tensor at_index(std::int64_t rows, std::int64_t index) { return at::full({rows}, index, at::kLong); }

}  // namespace

std::vector<SamplerVisit> ddim_visits(std::int64_t steps, std::int64_t stride) {
  if (stride < 1 || stride >= steps)
    fail(ExitCode::usage,
         "a stride of {} does not suit a schedule of {} steps (it is at least 1 and less than the steps)", stride,
         steps);
  std::vector<SamplerVisit> visits;
  for (std::int64_t from = (steps - 1) / stride * stride; from > 1; from -= stride)
    visits.push_back({from, std::max<std::int64_t>(from - stride, 1)});
  visits.push_back({1, 0});
  return visits;
}

at::Tensor sample_ddpm(NoisePredictor const& predict, NoiseSchedule const& schedule, GeneratedRows const& rows,
                       std::int64_t width, std::uint64_t seed) {
  at::NoGradGuard const no_graph;
  at::Tensor x = row_noise(seed, rows, width, start);
  for (std::int64_t i = schedule.steps() - 1; i >= 1; --i) {
    double const beta = schedule.beta(i + 1);
    x = at::add(x, predict(x, at_index(rows.count, i)), -beta / std::sqrt(1 - signal_left(schedule, i)))
            .div_(std::sqrt(1 - beta));
    if (i > 1) x.add_(row_noise(seed, rows, width, i), std::sqrt(beta));
  }
  return x;
}

at::Tensor sample_ddim(NoisePredictor const& predict, NoiseSchedule const& schedule, DdimSettings const& settings,
                       GeneratedRows const& rows, std::int64_t width, std::uint64_t seed) {
  at::NoGradGuard const no_graph;
  auto const root = [](double value) { return std::sqrt(std::max(0.0, value)); };  // rounding may leave -1e-17
  at::Tensor x = row_noise(seed, rows, width, start);
  for (auto const& [from, to] : ddim_visits(schedule.steps(), settings.stride)) {
    double const a = signal_left(schedule, from), b = signal_left(schedule, to);
    double const sigma = settings.eta * root((1 - b) / (1 - a)) * root(1 - a / b);
    at::Tensor const noise_in_x = predict(x, at_index(rows.count, from));
    x = at::add(x, noise_in_x, -std::sqrt(1 - a)).mul_(std::sqrt(b / a)).add_(noise_in_x, root(1 - b - sigma * sigma));
    if (from > 1 && sigma > 0) x.add_(row_noise(seed, rows, width, from), sigma);
  }
  return x;
}

}  // namespace retort
