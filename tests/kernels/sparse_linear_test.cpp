// sparse_linear against the dense product and its autograd, for widths that meet every loop of the kernel.
#include "retort/kernels/sparse_linear.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "../small_cells.hpp"
#include "retort/cells/csr_rows.hpp"
#include "retort/run/error.hpp"

using namespace retort;
using namespace retort::testing_cells;

class SparseLinearWidths : public testing::TestWithParam<std::int64_t> {};

TEST_P(SparseLinearWidths, AgreesWithDenseAutograd) {
  auto const out = GetParam();
  torch::manual_seed(1);
  auto const cells = random_cells(37, 301, 0.15, 5);
  auto const weight = torch::randn({301, out}).requires_grad_(), bias = torch::randn({out}).requires_grad_();
  auto const upstream = torch::randn({37, out});
  auto const result = sparse_linear(cells, weight, bias);
  auto const gradients = torch::autograd::grad({result}, {weight, bias}, {upstream});

  auto const dense_weight = weight.detach().to(at::kDouble).requires_grad_(),
             dense_bias = bias.detach().to(at::kDouble).requires_grad_();
  auto const expected = torch::mm(dense(cells).to(at::kDouble), dense_weight) + dense_bias;
  auto const expected_gradients =
      torch::autograd::grad({expected}, {dense_weight, dense_bias}, {upstream.to(at::kDouble)});
  EXPECT_LT(largest_difference(result, expected), 1e-4);
  EXPECT_LT(largest_difference(gradients[0], expected_gradients[0]), 1e-4);
  EXPECT_LT(largest_difference(gradients[1], expected_gradients[1]), 1e-4);
}
INSTANTIATE_TEST_SUITE_P(Widths, SparseLinearWidths, testing::Values(1, 7, 16, 64, 100, 256, 343, 1024));

TEST(SparseLinear, AddsTheGradientWhereItIsTold) {
  auto const cells = random_cells(20, 150, 0.2, 6);
  auto const weight = torch::randn({150, 48}).requires_grad_(), bias = torch::randn({48}).requires_grad_();
  auto const upstream = torch::randn({20, 48});
  auto const returned = torch::autograd::grad({sparse_linear(cells, weight, bias)}, {weight}, {upstream})[0];
  auto const before = torch::randn({150, 48});
  auto const into = before.clone();
  sparse_linear(cells, weight, bias, into).backward(upstream);
  EXPECT_FALSE(weight.grad().defined());
  EXPECT_TRUE(bias.grad().defined());
  EXPECT_TRUE(torch::equal(into, before + returned));  // the sum is formed first and added once: the same bits
}

TEST(SparseLinear, FollowsFiniteDifferences) {
  auto const cells = random_cells(9, 40, 0.3, 7);
  auto const weight = torch::randn({40, 17}).requires_grad_(), bias = torch::zeros({17}).requires_grad_();
  auto const upstream = torch::randn({9, 17});
  auto const gradient = torch::autograd::grad({sparse_linear(cells, weight, bias)}, {weight}, {upstream})[0];
  auto const direction = torch::randn({40, 17});
  torch::NoGradGuard no_grad;
  auto const value = [&](double step) {
    return (sparse_linear(cells, weight + step * direction, bias) * upstream).to(at::kDouble).sum().item<double>();
  };
  double const slope = (value(0.5) - value(-0.5));  // the product is linear, so any step serves
  EXPECT_NEAR(slope, (gradient * direction).to(at::kDouble).sum().item<double>(), 1e-3 * std::abs(slope) + 1e-3);
}

TEST(SparseLinear, ARowDoesNotDependOnItsNeighbours) {
  auto const cells = random_cells(50, 700, 0.1, 8);
  auto const weight = torch::randn({700, 130}), bias = torch::randn({130});
  auto const all = sparse_linear(cells, weight, bias);
  for (std::int64_t begin : {0, 13, 49}) {
    auto const end = std::min<std::int64_t>(50, begin + 7);
    auto const part = torch::empty({end - begin, 130});
    sparse_product(cells, {begin, end}, weight.data_ptr<float>(), bias.data_ptr<float>(), 130, part.data_ptr<float>());
    EXPECT_TRUE(torch::equal(part, all.slice(0, begin, end)));
  }
}

TEST(SparseLinear, RowsOfFewGenesHaveTheBitsOfRowsAmongFullOnes) {
  auto const few = random_cells(8, 1300, 0.005, 9);
  auto const weight = torch::randn({1300, 48}), bias = torch::randn({48});
  auto const alone = sparse_linear(few, weight, bias);
  EXPECT_LT(largest_difference(alone, torch::mm(dense(few), weight) + bias), 1e-4);
  auto mixed = few;  // beside as many full ones: enough non-zeros to go gene by gene
  append_rows(mixed, random_cells(8, 1300, 0.4, 10));
  auto const among = sparse_linear(mixed, weight, bias);
  for (std::int64_t row = 0; row < 8; ++row) EXPECT_TRUE(torch::equal(among[row], alone[row])) << row;
}

TEST(SparseLinear, HalfWeightsAreThoseOfBfloat16) {
  for (std::int64_t out : {32, 96, 1024}) {
    auto const cells = random_cells(50, 700, 0.1, 10);
    auto const weight = torch::randn({700, out}), bias = torch::randn({out});
    HalfWeight const half(weight);
    auto const rounded = weight.to(at::kBFloat16).to(at::kFloat);
    auto rounded_cells = cells;
    for (float& value : rounded_cells.values) value = static_cast<float>(c10::BFloat16(value));
    auto const expected = torch::empty({37, out}), result = torch::empty({37, out});
    sparse_product(rounded_cells, {5, 42}, rounded.data_ptr<float>(), bias.data_ptr<float>(), out,
                   expected.data_ptr<float>());
    half.product(cells, {5, 42}, bias.data_ptr<float>(), result.data_ptr<float>());
    EXPECT_TRUE(torch::allclose(result, expected, 1e-6, 1e-5)) << (result - expected).abs().max();
  }
  EXPECT_THROW(HalfWeight(torch::randn({10, 48})), Failure);
}

TEST(SparseLinear, EmptyCellsGiveTheBias) {
  CsrBlock cells;
  cells.genes = 10;
  cells.indptr = {0, 0, 0};
  auto const bias = torch::randn({32});
  EXPECT_TRUE(torch::equal(sparse_linear(cells, torch::randn({10, 32}), bias), bias.expand({2, 32})));
}

TEST(SparseLinear, RefusesOtherGenes) {
  auto const cells = random_cells(2, 10, 0.5, 9);
  EXPECT_THROW(sparse_linear(cells, torch::randn({11, 4}), torch::randn({4})), Failure);
}
