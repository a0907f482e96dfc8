// sparse_mse and accumulating_linear against dense autograd and finite differences.
#include "retort/layers/sparse_mse.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "../small_cells.hpp"
#include "retort/kernels/accumulating_linear.hpp"
#include "retort/run/error.hpp"

using namespace retort;
using namespace retort::testing_cells;

TEST(SparseMse, AgreesWithDenseAutograd) {
  torch::manual_seed(2);
  for (std::int64_t genes : {1, 15, 16, 4099, 9000}) {
    auto const cells = random_cells(21, genes, 0.1, 3);
    auto const reconstruction = torch::randn({21, genes}).requires_grad_();
    auto const loss = sparse_mse(reconstruction, cells);
    auto const gradient = torch::autograd::grad({3.0 * loss}, {reconstruction})[0];
    auto const exact = reconstruction.detach().to(at::kDouble).requires_grad_();
    auto const expected = torch::mse_loss(exact, dense(cells).to(at::kDouble));
    auto const expected_gradient = torch::autograd::grad({3.0 * expected}, {exact})[0];
    EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-6 * expected.item<double>());
    EXPECT_LT(largest_difference(gradient, expected_gradient), 1e-6 * expected_gradient.abs().max().item<double>());
  }
}

TEST(SparseMse, FollowsFiniteDifferences) {
  auto const cells = random_cells(4, 30, 0.3, 4);
  auto const reconstruction = torch::randn({4, 30}).requires_grad_();
  auto const gradient = torch::autograd::grad({sparse_mse(reconstruction, cells)}, {reconstruction})[0];
  torch::NoGradGuard no_grad;
  auto const direction = torch::randn({4, 30});
  auto const value = [&](double step) { return sparse_mse(reconstruction + step * direction, cells).item<double>(); };
  EXPECT_NEAR(value(0.25) - value(-0.25), 0.5 * (gradient * direction).sum().item<double>(),
              2e-6);  // quadratic: central differences are exact
}

TEST(SparseMse, IsZeroAtTheTarget) {
  auto const cells = random_cells(5, 200, 0.2, 11);
  EXPECT_NEAR(sparse_mse(dense(cells), cells).item<double>(), 0, 1e-7);
}

TEST(SparseMse, RefusesOtherShapes) {
  auto const cells = random_cells(3, 10, 0.5, 9);
  EXPECT_THROW(sparse_mse(torch::zeros({3, 11}), cells), Failure);
  EXPECT_THROW(sparse_mse(torch::zeros({2, 10}), cells), Failure);
}

TEST(AccumulatingLinear, IsLinearWithItsGradientAdded) {
  for (std::int64_t out : {3, 1000, 2100}) {  // 2100 x 300 floats are three pieces
    auto const input = torch::randn({33, 300}).requires_grad_(), weight = torch::randn({out, 300}).requires_grad_(),
               bias = torch::randn({out}).requires_grad_();
    auto const upstream = torch::randn({33, out});
    auto const expected = torch::autograd::grad({at::linear(input, weight, bias)}, {input, weight, bias}, {upstream});
    auto const into = torch::ones({out, 300});
    auto const result = accumulating_linear(input, weight, bias, into);
    EXPECT_LT(largest_difference(result, at::linear(input, weight, bias)), 1e-4);
    auto const gradients = torch::autograd::grad({result}, {input, bias}, {upstream});
    EXPECT_LT(largest_difference(gradients[0], expected[0]), 1e-3);
    EXPECT_LT(largest_difference(into - 1.0, expected[1]), 1e-3);
    EXPECT_LT(largest_difference(gradients[1], expected[2]), 1e-3);
  }
}

TEST(AccumulatingLinear, AddsASumThatWasFormedFirst) {
  auto const input = torch::randn({64, 512}), weight = torch::randn({700, 512}).requires_grad_(),
             bias = torch::zeros({700});
  auto const upstream = torch::randn({64, 700});
  auto const alone = torch::zeros({700, 512}), before = torch::randn({700, 512});
  accumulating_linear(input, weight, bias, alone).backward(upstream);
  auto const into = before.clone();
  accumulating_linear(input, weight, bias, into).backward(upstream);
  EXPECT_TRUE(torch::equal(into, before + alone));  // bit for bit: what a tree of sums over shards needs
}
