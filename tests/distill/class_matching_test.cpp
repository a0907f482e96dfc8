// The losses' derivatives and the rescaling, against autograd and finite differences.
#include "retort/distill/class_matching.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "retort/distill/matching_parts.hpp"
#include "retort/kernels/rescale.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

TEST(MatchMeans, EqualsAutograd) {
  at::manual_seed(5);
  at::Tensor const features = at::randn({6, 9}, at::kDouble).requires_grad_(true),
                   means = at::randn({2, 9}, at::kDouble);
  at::Tensor const loss = (features.view({2, 3, 9}).mean(1) - means).norm(2, 1).sum();
  loss.backward();
  auto const matched = match_class_means(features.detach(), means);
  EXPECT_TRUE(at::allclose(matched.gradient, features.grad(), 1e-12, 1e-14));
  EXPECT_NEAR(matched.losses.sum().item<double>(), loss.item<double>(), 1e-12);
}

TEST(MatchMeans, EqualMeansGiveZero) {
  at::Tensor const means = at::randn({2, 9});
  auto const matched = match_class_means(means, means);
  EXPECT_EQ(matched.losses.abs().max().item<float>(), 0.0F);
  EXPECT_EQ(matched.gradient.abs().max().item<float>(), 0.0F);
}

// Both losses together are the sum of each, and a chunk's part is the whole's.
TEST(Match, SumsAndCuts) {
  at::manual_seed(6);
  std::int64_t const classes = 5, n = 2, width = 8;
  at::Tensor const features = at::randn({classes * n, width});
  ClassTarget both_target{
      at::randn({classes, width}), {at::randn({classes, width}), at::randn({classes})}, {}, GradientMetric::rows, 2.5};
  Head const& head = both_target.head;
  both_target.expert_gradients = class_gradients(at::randn({classes * 7, width}), 0, classes, head.weight, head.bias);
  ClassTarget means_target = both_target, gradients_target = both_target;
  means_target.expert_gradients = at::Tensor();
  gradients_target.means = at::Tensor();
  auto const dm = match_classes(means_target, features, 0, classes),
             dc = match_classes(gradients_target, features, 0, classes),
             both = match_classes(both_target, features, 0, classes);
  EXPECT_TRUE(at::allclose(both.gradient, dm.gradient + dc.gradient));
  EXPECT_TRUE(at::allclose(both.losses, dm.losses + dc.losses));
  auto const part = match_classes(both_target, features.narrow(0, 2 * n, 3 * n), 2, 3);
  EXPECT_TRUE(at::allclose(part.gradient, both.gradient.narrow(0, 2 * n, 3 * n), 1e-4, 1e-6));
  EXPECT_TRUE(at::allclose(part.losses, both.losses.narrow(0, 2, 3)));
  // The scale of what the head sees is part of the loss that is differentiated.
  at::Tensor const direction = at::randn_like(features);
  auto loss_at = [&](double step) {
    return match_classes(gradients_target, features + direction * step, 0, classes).losses.sum().item<double>();
  };
  EXPECT_NEAR((loss_at(1e-3) - loss_at(-1e-3)) / 2e-3, (dc.gradient * direction).sum().item<double>(),
              2e-2 * std::abs((dc.gradient * direction).sum().item<double>()) + 1e-3);
  EXPECT_THROW(matching_parts("mtt"), Failure);

  // A derivative that only one of two matches has is the sum's; one that neither has stays undefined.
  FeatureMatch const of_cells{at::zeros({classes}), {}, at::randn({classes * n, 3})};
  EXPECT_TRUE(at::equal(sum_of(dm, of_cells).gradient, dm.gradient));
  EXPECT_TRUE(at::equal(sum_of(dm, of_cells).by_cells, of_cells.by_cells));
  EXPECT_FALSE(sum_of(of_cells, of_cells).gradient.defined());
}

TEST(Rescale, IsACellAndHasTheGradientOfItsFormula) {
  at::manual_seed(7);
  at::Tensor const x = (at::randn({3, 50}, at::kDouble) * 2).requires_grad_(true),
                   upstream = at::randn({3, 50}, at::kDouble);
  at::Tensor const counts = at::relu(x).expm1();
  at::Tensor const formula = at::log1p(counts * 1e4 / counts.sum(1, true));
  (formula * upstream).sum().backward();
  at::Tensor const leaf = x.detach().clone().requires_grad_(true);
  at::Tensor const ours = rescale_to_cell(leaf);
  (ours * upstream).sum().backward();
  EXPECT_TRUE(at::allclose(ours, formula, 1e-12, 1e-14));
  EXPECT_TRUE(at::allclose(leaf.grad(), x.grad(), 1e-10, 1e-12));
  EXPECT_GE(ours.min().item<double>(), 0.0);
  EXPECT_NEAR(ours.expm1().sum(1).sub(1e4).abs().max().item<double>(), 0, 1e-6);
}

TEST(Rescale, ExtremeRowsStayFinite) {
  at::Tensor x = at::zeros({4, 10});
  x[0] = -1.0;    // nothing is positive
  x[1][0] = 500;  // would overflow
  x[2][3] = 1e-30;
  x.requires_grad_(true);
  at::Tensor const cells = rescale_to_cell(x, 1);
  cells.sum().backward();
  EXPECT_TRUE(cells.isfinite().all().item<bool>());
  EXPECT_TRUE(x.grad().isfinite().all().item<bool>());
  EXPECT_NEAR(cells[1].expm1().sum().item<double>(), 1e4, 1);
  // Where codes themselves are optimised, a gene at zero can rise; behind a network it is closed.
  at::Tensor y = at::tensor({0.0F, 1.0F, 2.0F}).view({1, 3}).requires_grad_(true),
             z = y.detach().clone().requires_grad_(true);
  rescale_to_cell(y, 1).select(1, 0).sum().backward();
  rescale_to_cell(z, 0).select(1, 0).sum().backward();
  EXPECT_GT(y.grad()[0][0].item<float>(), 0.0F);
  EXPECT_EQ(z.grad()[0][0].item<float>(), 0.0F);
}

}  // namespace
}  // namespace retort
