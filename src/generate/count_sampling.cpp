#include "retort/generate/count_sampling.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

// Lets the standard library's distributions draw from a stream.
struct Bits {
  using result_type = std::uint32_t;
  Random& random;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  result_type operator()() { return random.bits(); }
};

}  // namespace

at::Tensor sample_counts(GenePrediction const& prediction, std::span<double const> libraries, std::uint64_t seed,
                         std::int64_t first) {
  c10::InferenceMode const no_graph;
  auto const cells = prediction.logits.size(0), genes = prediction.logits.size(1);
  auto const shares = at::softmax(prediction.logits, 1).contiguous(), theta = prediction.log_theta.exp().contiguous();
  auto const counts = at::empty({cells, genes});
  constexpr double largest = 1e9;  // what a count can be at most; a float32 holds it
  for (std::int64_t i = 0; i < cells; ++i) {
    Random random(seed, purpose::counts, static_cast<std::uint64_t>(first + i));
    Bits bits{random};
    float const* const of_gene = theta.const_data_ptr<float>() + (theta.dim() == 2 ? i * genes : 0);
    for (std::int64_t g = 0; g < genes; ++g) {
      double const mean = libraries[index(i)] * shares.const_data_ptr<float>()[i * genes + g], dispersion = of_gene[g];
      if (!(mean >= 0 && std::isfinite(mean) && dispersion >= 0))
        fail(ExitCode::failed,
             "cell {}: the autoencoder predicts {} counts of gene {} with dispersion {} (it was not trained to an end, "
             "or its weights are damaged). Train it again",
             first + i, mean, g, dispersion);
      double const rate = std::isinf(dispersion) ? mean
                          : mean > 0 && dispersion > 0
                              ? std::gamma_distribution<double>(dispersion, mean / dispersion)(bits)
                              : 0;
      counts.data_ptr<float>()[i * genes + g] =
          rate > 0 ? static_cast<float>(std::poisson_distribution<std::int64_t>(std::min(rate, largest))(bits)) : 0;
    }
  }
  return counts;
}

at::Tensor sample_expression(GenePrediction const& prediction, std::uint64_t seed, std::int64_t first) {
  c10::InferenceMode const no_graph;
  auto const sampled = prediction.logits.clone();
  auto const genes = sampled.size(1);
  for (std::int64_t i = 0; i < sampled.size(0); ++i) {
    Random random(seed, purpose::counts, static_cast<std::uint64_t>(first + i));
    for (std::int64_t g = 0; g < genes; ++g)
      sampled.data_ptr<float>()[i * genes + g] += static_cast<float>(random.normal());
  }
  return sampled;
}

}  // namespace retort
