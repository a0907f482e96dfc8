#include "retort/distill/class_matching.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "retort/distill/layer_gradients.hpp"

namespace retort {

FeatureMatch match_class_means(at::Tensor const& features, at::Tensor const& means) {
  at::NoGradGuard no_grad;
  std::int64_t const k = means.size(0), n = features.size(0) / k, width = features.size(1);
  at::Tensor const apart = features.view({k, n, width}).mean(1) - means;  // [k, width]
  at::Tensor const distance = apart.square().sum(1, true).sqrt_();        // [k, 1]
  at::Tensor const direction = apart / distance.clamp_min(1e-12).mul_(static_cast<double>(n));
  return {distance.squeeze(1), direction.unsqueeze(1).expand({k, n, width}).reshape({k * n, width})};
}

FeatureMatch match_classes(ClassTarget const& target, at::Tensor const& features, std::int64_t first_class,
                           std::int64_t k) {
  at::NoGradGuard no_grad;
  FeatureMatch sum;
  if (target.means.defined()) sum = match_class_means(features, target.means.narrow(0, first_class, k));
  if (target.expert_gradients.defined()) {
    FeatureMatch const of_gradients =
        match_head_gradients(features * target.feature_scale, first_class, target.head,
                             target.expert_gradients.narrow(0, first_class, k), target.metric);
    sum = sum_of(sum, {of_gradients.losses, of_gradients.gradient * target.feature_scale});
  }
  return sum;
}

double class_loss(std::span<ClassTarget const> targets, at::Tensor const& features) {
  double sum = 0;
  for (ClassTarget const& target : targets) {
    std::int64_t const classes = (target.means.defined() ? target.means : target.expert_gradients).size(0);
    sum += match_classes(target, features, 0, classes).losses.sum(at::kDouble).item<double>();
  }
  return sum / static_cast<double>(targets.size());
}

FeatureMatch sum_of(FeatureMatch const& a, FeatureMatch const& b) {
  auto const sum = [](at::Tensor const& x, at::Tensor const& y) { return !x.defined() ? y : !y.defined() ? x : x + y; };
  return {sum(a.losses, b.losses), sum(a.gradient, b.gradient), sum(a.by_cells, b.by_cells)};
}

}  // namespace retort
