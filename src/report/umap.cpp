#include "retort/report/umap.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <knncolle/knncolle.hpp>
#include <umappp/umappp.hpp>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

std::vector<double> umap(std::span<float const> points, std::int64_t width, std::uint64_t seed) {
  auto const count = static_cast<int>(std::ssize(points) / width);
  if (!std::all_of(points.begin(), points.end(), [](float value) { return std::isfinite(value); }))
    fail(ExitCode::bad_input,
         "features are not finite (a map would mean nothing). Run retort-train-foundation and retort-embed again");
  if (count < 4) {  // nothing to arrange
    std::vector<double> line(index(2 * count));
    for (int i = 0; i < count; ++i) line[index(2 * i)] = i;
    return line;
  }
  auto const centred =
      at::tensor(at::ArrayRef<float>(points.data(), points.size()), at::kDouble).view({count, width}).contiguous();
  auto const deviations = centred - centred.mean(0, true);
  auto const axes = std::get<1>(at::linalg_eigh(deviations.t().mm(deviations)))
                        .narrow(1, std::max<std::int64_t>(0, width - 2), std::min<std::int64_t>(2, width));
  auto components = at::zeros({count, 2}, at::kDouble);
  components.narrow(1, 0, axes.size(1)).copy_(deviations.mm(axes));
  components *= 10 / components.abs().max().clamp_min(1e-12);
  std::vector<double> embedding(components.const_data_ptr<double>(),
                                components.const_data_ptr<double>() + components.numel());

  umappp::Options options;
  options.num_neighbors = std::min(15, count - 1);
  options.min_dist = 0.3;
  options.initialize_random_on_spectral_fail = false;
  options.initialize_seed = options.optimize_seed = seed;
  knncolle::VptreeBuilder<int, double, double> const builder(
      std::make_shared<knncolle::EuclideanDistance<double, double>>());
  auto status = umappp::initialize<int, double>(index(width), count, centred.const_data_ptr<double>(), builder, 2,
                                                embedding.data(), options);
  status.run(embedding.data());
  return embedding;
}

}  // namespace retort
