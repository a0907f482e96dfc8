#include "retort/distill/matching.hpp"

#include <ATen/ATen.h>

#include "retort/distill/layer_gradients.hpp"
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
  fail(ExitCode::usage, "distill.matchings has '{}' (a matching is dm, dc, dm+dc, head, genes, head+genes or none)",
       name);
}

FeatureMatch match(Matching const& matching, MatchTarget const& target, at::Tensor const& features,
                   std::int64_t first_class, std::int64_t k) {
  at::NoGradGuard no_grad;
  FeatureMatch sum;
  auto const add = [&](FeatureMatch const& more) {
    sum = sum.losses.defined() ? FeatureMatch{sum.losses + more.losses, sum.gradient + more.gradient, more.by_cells}
                               : more;
  };
  if (matching.means) add(match_class_means(features, target.means.narrow(0, first_class, k)));
  bool const by_class = matching.gradients && target.head.weight.defined();
  if (by_class) {
    FeatureMatch const of_gradients =
        match_head_gradients(features * target.feature_scale, first_class, target.head,
                             target.expert_gradients.narrow(0, first_class, k), target.metric);
    add({of_gradients.losses, of_gradients.gradient * target.feature_scale});
  } else if (matching.head || matching.genes ||
             matching.gradients) {  // the set has one loss, which is not this chunk's
    std::int64_t const n = features.size(0) / k;
    auto const own = [&](at::Tensor const& of_set) { return of_set.narrow(0, first_class * n, k * n); };
    bool const sees_features = matching.head || (matching.gradients && target.by_features.defined()),
               sees_cells = matching.genes || (matching.gradients && target.by_cells.defined());
    add({at::zeros({k}, features.options()), sees_features ? own(target.by_features) : at::zeros_like(features),
         sees_cells ? own(target.by_cells) : at::Tensor()});
  }
  return sum;
}

double matching_loss(Matching const& matching, std::span<MatchTarget const> targets, at::Tensor const& features) {
  double sum = 0;
  for (MatchTarget const& target : targets)
    sum += match(matching, target, features, 0, target.means.size(0)).losses.sum(at::kDouble).item<double>();
  return sum / static_cast<double>(targets.size());
}

}  // namespace retort
