// The closed form against finite differences and against autograd's double back-propagation.
#include "retort/kernels/linear_head_gradient.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace retort {
namespace {

struct Case {
  at::Tensor features, weight, bias, real;
  std::int64_t first_class;
};

Case make_case(std::int64_t classes, std::int64_t k, std::int64_t n, std::int64_t width, std::int64_t first_class,
               at::ScalarType type) {
  at::manual_seed(7);
  auto const options = at::TensorOptions().dtype(type);
  Case made{at::randn({k * n, width}, options),
            at::randn({classes, width}, options) * 0.3,
            at::randn({classes}, options) * 0.3,
            {},
            first_class};
  made.real = class_gradients(at::randn({k * 5, width}, options), first_class, k, made.weight, made.bias);
  return made;
}

// As a user of PyTorch would write it from the reference code.
at::Tensor loss_by_autograd(Case const& at_case, at::Tensor const& features, GradientMetric metric) {
  std::int64_t const k = at_case.real.size(0), n = features.size(0) / k, width = features.size(1);
  at::Tensor const weight = at_case.weight.clone().requires_grad_(true),
                   bias = at_case.bias.clone().requires_grad_(true);
  at::Tensor total = at::zeros({}, features.options());
  for (std::int64_t c = 0; c < k; ++c) {
    at::Tensor const logits = at::linear(features.narrow(0, c * n, n), weight, bias);
    at::Tensor const entropy = at::cross_entropy_loss(logits, at::full({n}, at_case.first_class + c, at::kLong));
    auto const gradient = torch::autograd::grad({entropy}, {weight, bias}, {}, true, true);
    at::Tensor const real = at_case.real[c];
    at::Tensor u, r;
    if (metric == GradientMetric::rows) {
      u = gradient[0], r = real.narrow(1, 0, width);
    } else {
      u = at::cat({gradient[0], gradient[1].unsqueeze(1)}, 1).reshape({1, -1}), r = real.reshape({1, -1});
    }
    total = total + (1 - (u * r).sum(1) / (u.norm(2, 1) * r.norm(2, 1) + 1e-6)).sum();
  }
  return total;
}

double largest(at::Tensor const& difference) { return difference.abs().max().item<double>(); }

class Metrics : public testing::TestWithParam<GradientMetric> {};

TEST_P(Metrics, EqualsFiniteDifferences) {
  for (std::int64_t n : {1, 3}) {
    Case const at_case = make_case(5, 3, n, 7, 1, at::kDouble);
    auto const match =
        match_class_gradients(at_case.features, 1, at_case.weight, at_case.bias, at_case.real, GetParam());
    double const step = 1e-6;
    at::Tensor numeric = at::zeros_like(at_case.features);
    for (std::int64_t i = 0; i < at_case.features.size(0); ++i)
      for (std::int64_t j = 0; j < 7; ++j) {
        auto loss_at = [&](double moved) {
          at::Tensor features = at_case.features.clone();
          features[i][j] += moved;
          return match_class_gradients(features, 1, at_case.weight, at_case.bias, at_case.real, GetParam())
              .losses.sum()
              .item<double>();
        };
        numeric[i][j] = (loss_at(step) - loss_at(-step)) / (2 * step);
      }
    EXPECT_LT(largest(numeric - match.gradient), 1e-7) << n << " rows a class";
    EXPECT_GT(largest(match.gradient), 1e-3);
  }
}

TEST_P(Metrics, EqualsDoubleBackPropagation) {
  for (auto type : {at::kDouble, at::kFloat}) {
    Case const at_case = make_case(11, 4, 10, 128, 5, type);
    at::Tensor const features = at_case.features.clone().requires_grad_(true);
    at::Tensor const loss = loss_by_autograd(at_case, features, GetParam());
    loss.backward();
    auto const match =
        match_class_gradients(at_case.features, 5, at_case.weight, at_case.bias, at_case.real, GetParam());
    double const tolerance = type == at::kDouble ? 1e-12 : 2e-5;
    EXPECT_LT(largest(features.grad() - match.gradient), tolerance * largest(features.grad()));
    EXPECT_NEAR(match.losses.sum().item<double>(), loss.item<double>(), tolerance * loss.item<double>());
  }
}

INSTANTIATE_TEST_SUITE_P(Both, Metrics, testing::Values(GradientMetric::rows, GradientMetric::flat));

TEST(LinearHeadGradient, ClassGradientsEqualAutograd) {
  Case const at_case = make_case(6, 2, 4, 9, 3, at::kDouble);
  at::Tensor const ours = class_gradients(at_case.features, 3, 2, at_case.weight, at_case.bias);
  for (std::int64_t c = 0; c < 2; ++c) {
    at::Tensor const weight = at_case.weight.clone().requires_grad_(true),
                     bias = at_case.bias.clone().requires_grad_(true);
    at::cross_entropy_loss(at::linear(at_case.features.narrow(0, c * 4, 4), weight, bias),
                           at::full({4}, 3 + c, at::kLong))
        .backward();
    EXPECT_LT(largest(ours[c].narrow(1, 0, 9) - weight.grad()), 1e-14);
    EXPECT_LT(largest(ours[c].select(1, 9) - bias.grad()), 1e-14);
  }
}

// A class whose gradient vanishes (features of zero, rows metric) gives a finite loss and gradient.
TEST(LinearHeadGradient, ZeroFeaturesStayFinite) {
  Case const at_case = make_case(5, 2, 2, 7, 0, at::kFloat);
  for (auto metric : {GradientMetric::rows, GradientMetric::flat}) {
    auto const match =
        match_class_gradients(at::zeros_like(at_case.features), 0, at_case.weight, at_case.bias, at_case.real, metric);
    EXPECT_TRUE(match.losses.isfinite().all().item<bool>());
    EXPECT_TRUE(match.gradient.isfinite().all().item<bool>());
  }
}

}  // namespace
}  // namespace retort
