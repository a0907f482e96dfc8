// Gradient matching by second derivatives: against the closed form of a linear head, and against double
// back-propagation.
#include "retort/distill/layer_gradients.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "retort/models/head_training.hpp"

namespace retort {
namespace {

constexpr std::int64_t classes = 5, width = 12, k = 3, first_class = 1;

double relative(at::Tensor const& a, at::Tensor const& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

Head head_of(std::vector<std::int64_t> const& hidden, at::ScalarType type) {
  Head head = initial_head(classes, width, 3, 1, hidden);
  for (auto* tensor : {&head.weight, &head.bias}) *tensor = tensor->to(type);
  for (auto& layer : head.hidden) layer = {layer.weight.to(type), layer.bias.to(type)};
  return head;
}

// The distance with autograd's own gradients of the weights, differentiated again: losses and the derivative by
// features.
FeatureMatch by_double_backward(at::Tensor const& features, Head const& head, at::Tensor const& real,
                                GradientMetric metric) {
  at::Tensor const leaf = features.clone().requires_grad_(true);
  std::int64_t const n = features.size(0) / k;
  std::vector<at::Tensor> losses;
  for (std::int64_t c = 0; c < k; ++c) {
    std::vector<at::Tensor> parameters;
    at::Tensor value = leaf.narrow(0, c * n, n);
    for (auto const& layer : layers_of(head)) {
      if (!parameters.empty()) value = at::relu(value);
      parameters.push_back(layer.weight.clone().requires_grad_(true));
      parameters.push_back(layer.bias.clone().requires_grad_(true));
      value = at::linear(value, parameters[parameters.size() - 2], parameters.back());
    }
    auto const own = torch::autograd::grad({at::cross_entropy_loss(value, at::full({n}, first_class + c, at::kLong))},
                                           parameters, {}, true, true);
    at::Tensor loss = at::zeros({}, features.options()), ours, theirs;
    std::vector<at::Tensor> flat_ours, flat_theirs;
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < own.size(); i += 2) {
      std::int64_t const out = own[i].size(0), in = own[i].size(1);
      at::Tensor const r = real[c].narrow(0, begin, out * (in + 1)).view({out, in + 1});
      begin += out * (in + 1);
      for (std::int64_t j = 0; j < out && metric == GradientMetric::rows; ++j)
        loss = loss + 1 -
               (own[i][j] * r[j].narrow(0, 0, in)).sum() /
                   (own[i][j].norm() * r[j].narrow(0, 0, in).norm() + cosine_guard);
      flat_ours.push_back(at::cat({own[i], own[i + 1].unsqueeze(1)}, 1).flatten());
      flat_theirs.push_back(r.flatten());
    }
    ours = at::cat(flat_ours), theirs = at::cat(flat_theirs);
    if (metric == GradientMetric::flat) loss = 1 - (ours * theirs).sum() / (ours.norm() * theirs.norm() + cosine_guard);
    losses.push_back(loss);
  }
  at::Tensor const all = at::stack(losses);
  return {all.detach(), torch::autograd::grad({all.sum()}, {leaf})[0]};
}

TEST(LayerGradients, WithoutHiddenLayersEqualTheClosedForm) {
  for (auto const type : {at::kDouble, at::kFloat})
    for (std::int64_t const n : {1, 2, 50})
      for (auto const metric : {GradientMetric::rows, GradientMetric::flat}) {
        at::manual_seed(41);
        at::Tensor const features = at::randn({k * n, width}, type);
        Head const head = head_of({}, type);
        at::Tensor const real =
            class_gradients(at::randn({k * 30, width}, type) + 0.5, first_class, k, head.weight, head.bias)
                .reshape({k, -1});
        auto const ours = match_layer_gradients(features, first_class, head, real, metric),
                   closed = match_head_gradients(features, first_class, head, real, metric);
        double const tolerance = type == at::kDouble ? 1e-9 : 1e-5;
        EXPECT_LT(relative(ours.losses, closed.losses), tolerance) << n;
        EXPECT_LT(relative(ours.gradient, closed.gradient), tolerance) << n;
      }
}

TEST(LayerGradients, EqualDoubleBackPropagation) {
  for (std::vector<std::int64_t> const& hidden : {std::vector<std::int64_t>{9}, std::vector<std::int64_t>{9, 7}})
    for (std::int64_t const n : {1, 4})
      for (auto const metric : {GradientMetric::rows, GradientMetric::flat}) {
        at::manual_seed(42);
        at::Tensor const features = at::randn({k * n, width}, at::kDouble),
                         real = at::randn({k, gradient_length(classes, width, hidden)}, at::kDouble);
        Head const head = head_of(hidden, at::kDouble);
        auto const ours = match_head_gradients(features, first_class, head, real, metric),
                   expected = by_double_backward(features, head, real, metric);
        EXPECT_LT(relative(ours.losses, expected.losses), 1e-10) << n;
        EXPECT_LT(relative(ours.gradient, expected.gradient), 1e-9) << n;
      }
}

TEST(LayerGradients, ZeroFeaturesStayFinite) {
  Head const head = head_of({6}, at::kFloat);
  auto const matched = match_head_gradients(at::zeros({k, width}), first_class, head,
                                            at::zeros({k, gradient_length(classes, width, {6})}), GradientMetric::rows);
  EXPECT_TRUE(matched.losses.isfinite().all().item<bool>());
  EXPECT_TRUE(matched.gradient.isfinite().all().item<bool>());
}

}  // namespace
}  // namespace retort
