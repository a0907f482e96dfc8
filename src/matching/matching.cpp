#include "retort/matching/matching.hpp"

#include <ATen/ATen.h>

#include "retort/run/error.hpp"

namespace retort {

FeatureMatch match_class_means(at::Tensor const& features, at::Tensor const& means) {
  at::NoGradGuard no_grad;
  std::int64_t const k = means.size(0), n = features.size(0) / k, width = features.size(1);
  at::Tensor const apart = features.view({k, n, width}).mean(1) - means;  // [k, width]
  at::Tensor const distance = apart.square().sum(1, true).sqrt_();        // [k, 1]
  at::Tensor const direction = apart / distance.clamp_min(1e-12).mul_(static_cast<double>(n));
  return {distance.squeeze(1), direction.unsqueeze(1).expand({k, n, width}).reshape({k * n, width})};
}

Matching matching_named(std::string const& name) {
  if (name == "dm") return {name, true, false, false, false};
  if (name == "dc") return {name, false, true, false, false};
  if (name == "dm+dc") return {name, true, true, false, false};
  if (name == "head") return {name, false, false, true, false};
  if (name == "genes") return {name, false, false, false, true};
  if (name == "head+genes") return {name, false, false, true, true};
  if (name == "none") return {name, false, false, false, false};
  fail(ExitCode::usage, "distill.matchings has '{}' (a matching is dm, dc, dm+dc, head, genes, head+genes or none)", name);
}

FeatureMatch match(Matching const& matching, MatchTarget const& target, at::Tensor const& features, std::int64_t first_class,
                   std::int64_t k) {
  at::NoGradGuard no_grad;
  FeatureMatch sum;
  if (matching.head || matching.genes) {  // the classes share one loss, which is not this chunk's
    std::int64_t const n = features.size(0) / k;
    sum = {at::zeros({k}, features.options()), matching.head ? target.by_features.narrow(0, first_class * n, k * n) : at::zeros_like(features),
           matching.genes ? target.by_cells.narrow(0, first_class * n, k * n) : at::Tensor()};
  }
  if (matching.means) sum = match_class_means(features, target.means.narrow(0, first_class, k));
  if (matching.gradients) {
    FeatureMatch const of_gradients = match_class_gradients(features * target.feature_scale, first_class, target.weight, target.bias,
                                                            target.expert_gradients.narrow(0, first_class, k), target.metric);
    at::Tensor const gradient = of_gradients.gradient * target.feature_scale;
    sum = sum.losses.defined() ? FeatureMatch{sum.losses + of_gradients.losses, sum.gradient + gradient} : FeatureMatch{of_gradients.losses, gradient};
  }
  return sum;
}

double matching_loss(Matching const& matching, std::span<MatchTarget const> targets, at::Tensor const& features) {
  double sum = 0;
  for (MatchTarget const& target : targets) sum += match(matching, target, features, 0, target.means.size(0)).losses.sum(at::kDouble).item<double>();
  return sum / static_cast<double>(targets.size());
}

}  // namespace retort
