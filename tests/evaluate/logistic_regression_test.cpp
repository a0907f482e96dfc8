// Logistic regression in the span of its cells: at the minimum of what it says it minimises.
#include "retort/evaluate/logistic_regression.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace retort {
namespace {

constexpr std::int64_t n = 12, genes = 40, classes = 3;

TEST(LogisticRegression, IsAtTheMinimumOfTheSoftmax) {
  at::manual_seed(9);
  at::Tensor const labels = at::arange(n) % classes, cells = at::relu(at::randn({n, genes}) + 0.5);
  auto const model = train_logistic_regression(cells, labels, classes);
  at::Tensor const weight = at::tensor(model.weight).view({genes, classes}).to(at::kDouble).requires_grad_(true),
                   bias = at::tensor(model.bias).to(at::kDouble).requires_grad_(true);
  at::Tensor const loss =
      at::cross_entropy_loss(cells.to(at::kDouble).mm(weight) + bias, labels, {}, at::Reduction::Sum) +
      0.5 * weight.square().sum();
  loss.backward();
  EXPECT_LT(weight.grad().abs().max().item<double>(), 1e-3);
  EXPECT_LT(bias.grad().abs().max().item<double>(), 1e-3);
  EXPECT_GT(weight.abs().max().item<double>(), 1e-2);
}

TEST(LogisticRegression, AClassWithoutCellsTakesNoPart) {
  at::manual_seed(9);
  at::Tensor const labels = at::arange(n) % classes, cells = at::relu(at::randn({n, genes}) + 0.5);
  auto const model = train_logistic_regression(cells, labels, classes),
             wider = train_logistic_regression(cells, labels, classes + 1);
  EXPECT_EQ(wider.bias.back(), -INFINITY);
  at::Tensor const own = at::tensor(model.weight).view({genes, classes}),
                   among = at::tensor(wider.weight).view({genes, classes + 1});
  EXPECT_LT((own - among.narrow(1, 0, classes)).abs().max().item<double>(), 1e-4);
  EXPECT_EQ(among.select(1, classes).abs().max().item<double>(), 0.0);
}

TEST(LogisticRegression, ASpanHasTheProductsOfItsVectors) {
  at::manual_seed(3);
  at::Tensor x = at::randn({5, genes}, at::kDouble);
  x[4].copy_(x[0] + x[1]);  // four directions
  auto const [basis, axes] = span_of(x);
  EXPECT_LT((at::mm(basis, axes) - x).abs().max().item<double>(), 1e-6);
  at::Tensor const lengths = at::mm(axes, axes.t());
  EXPECT_LT((lengths - at::diag(lengths.diagonal())).abs().max().item<double>(), 1e-6);
  EXPECT_EQ(lengths.diagonal().round().sum().item<double>(), 4);
}

}  // namespace
}  // namespace retort
