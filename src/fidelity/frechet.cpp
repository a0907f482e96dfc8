#include "retort/fidelity/frechet.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "point_sets.hpp"

namespace retort {
namespace {

at::Tensor covariance(at::Tensor const& cells, at::Tensor const& mean) {
  at::Tensor const centred = cells - mean;
  return at::mm(centred.t(), centred) / (cells.size(0) - 1);
}

at::Tensor symmetric_root(at::Tensor const& matrix) {
  auto const [values, vectors] = at::linalg_eigh(matrix);
  return at::mm(vectors * values.clamp_min(0).sqrt(), vectors.t());
}

}  // namespace

double frechet_distance(at::Tensor const& real, at::Tensor const& generated) {
  PointSets const sets = checked_sets("Frechet distance", real, generated, 2);
  at::Tensor const real_mean = sets.real.mean(0), generated_mean = sets.generated.mean(0);
  at::Tensor const real_covariance = covariance(sets.real, real_mean),
                   generated_covariance = covariance(sets.generated, generated_mean);
  at::Tensor const root =
      at::linalg_svdvals(at::mm(symmetric_root(real_covariance), symmetric_root(generated_covariance))).sum();
  at::Tensor const distance =
      (real_mean - generated_mean).square().sum() + real_covariance.trace() + generated_covariance.trace() - 2 * root;
  return std::max(0.0, distance.item<double>());
}

}  // namespace retort
