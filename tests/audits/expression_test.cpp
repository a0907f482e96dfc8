#include "retort/audits/expression.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "../small_cells.hpp"

#include "retort/run/index.hpp"

using namespace retort;

namespace {

// Cells with many ties and, for genes past the tenth, values below zero; class 3 has one cell, class 4 none.
struct Fixture {
  CsrBlock cells = testing_cells::random_cells(203, 37, 0.4, 5);
  std::vector<std::int64_t> rows;
  std::vector<std::int32_t> labels;

  Fixture() {
    for (std::size_t k = 0; k < cells.values.size(); ++k)
      cells.values[k] =
          std::round(cells.values[k] * 4) / 4 * (cells.indices[k] > 10 && cells.indices[k] % 3 ? -1.0F : 1.0F);
    for (std::int64_t row = 202; row >= 0; row -= 2) {  // some of the rows, in another order
      rows.push_back(row);
      labels.push_back(row == 100 ? 3 : static_cast<std::int32_t>(row % 7 % 3));
    }
  }
  ReadChosenRows read() const {
    return [this](std::span<std::int64_t const> chosen) {
      CsrBlock block;
      block.genes = cells.genes;
      for (auto const row : chosen) {
        for (auto k = index(cells.indptr[index(row)]); k < index(cells.indptr[index(row) + 1]); ++k) {
          block.indices.push_back(cells.indices[k]);
          block.values.push_back(cells.values[k]);
        }
        block.indptr.push_back(static_cast<std::int64_t>(block.indices.size()));
      }
      return block;
    };
  }
  at::Tensor dense() const { return testing_cells::dense(cells).index_select(0, at::tensor(rows, at::kLong)); }
};

void expect_same_bits(Expression const& a, Expression const& b) {
  EXPECT_EQ(a.genes.cells, b.genes.cells);
  EXPECT_EQ(a.genes.nonzeros, b.genes.nonzeros);
  EXPECT_EQ(a.genes.sum, b.genes.sum);
  EXPECT_EQ(a.genes.squares, b.genes.squares);
  EXPECT_EQ(a.genes.score, b.genes.score);
  EXPECT_EQ(a.smallest, b.smallest);
  EXPECT_EQ(a.detected, b.detected);
}

TEST(Expression, HasTheSameBitsOnAnyRanksAndForAnyBlockOfGenes) {
  Fixture const data;
  auto const ranks = Communicator::world(), alone = Communicator::serial();
  auto const whole = expression_of(alone, data.read(), data.rows, data.labels, 5, 37);
  expect_same_bits(expression_of(ranks, data.read(), data.rows, data.labels, 5, 37), whole);
  expect_same_bits(expression_of(ranks, data.read(), data.rows, data.labels, 5, 37, 500), whole);
  expect_same_bits(expression_of(ranks, data.read(), data.rows, data.labels, 5, 37, 1), whole);
  std::vector<std::int64_t> const labels(data.labels.begin(), data.labels.end());
  expect_same_bits(expression_of(DistilledSet{data.dense(), at::tensor(labels, at::kLong)}, 5), whole);
}

TEST(Expression, IsWhatTheDenseCellsGive) {
  Fixture const data;
  auto const x = data.dense().to(at::kDouble);
  auto const n = x.size(0), genes = x.size(1);
  auto const found = expression_of(Communicator::serial(), data.read(), data.rows, data.labels, 5, genes).genes;
  auto const label = at::tensor(std::vector<std::int64_t>(data.labels.begin(), data.labels.end()), at::kLong);
  for (std::int64_t g = 0; g < genes; ++g) {
    auto const gene = x.select(1, g).contiguous();
    auto const ranks =
        0.5 *
        (gene.unsqueeze(1).gt(gene).sum(1) + gene.unsqueeze(1).ge(gene).sum(1) + 1).to(at::kDouble);  // mean ranks
    for (std::int64_t c = 0; c < 5; ++c) {
      auto const i = index(g * 5 + c);
      auto const own = label.eq(c).to(at::kDouble);
      double const size = own.sum().item<double>();
      EXPECT_EQ(found.nonzeros[i], (own * gene.ne(0)).sum().item<double>());
      EXPECT_NEAR(found.sum[i], (own * gene).sum().item<double>(), 1e-9);
      EXPECT_NEAR(found.squares[i], (own * gene * gene).sum().item<double>(), 1e-9);
      // The variance of a sum of `size` of these ranks drawn without replacement.
      double const expected = size * ranks.mean().item<double>(),
                   spread = size * static_cast<double>(n - static_cast<std::int64_t>(size)) / static_cast<double>(n) *
                            ranks.var().item<double>();
      double const z = spread > 0 ? ((own * ranks).sum().item<double>() - expected) / std::sqrt(spread) : 0;
      EXPECT_NEAR(found.score[i], z, 1e-9) << "gene " << g << " class " << c;
    }
  }
  EXPECT_EQ(found.cells[3], 1);
  EXPECT_EQ(found.cells[4], 0);
}

TEST(Expression, OfOneClassHasNoTests) {
  Fixture const data;
  auto const one =
      expression_of(Communicator::serial(), data.read(), data.rows, std::vector<std::int32_t>(data.rows.size()), 1, 37);
  EXPECT_EQ(std::count(one.genes.score.begin(), one.genes.score.end(), 0.0), 37);
  auto const none = expression_of(Communicator::world(), data.read(), {}, {}, 2, 37);
  EXPECT_EQ(none.genes.genes(), 37);
  EXPECT_TRUE(std::isinf(none.smallest));
}

TEST(FalseDiscoveryRates, AreBenjaminiAndHochbergs) {
  GeneStatistics statistics({1, 1});
  statistics.score = {3, 0, 1, 0, 2.5, 0, -2, 0};
  statistics.sum.resize(8);
  auto const rates = statistics.false_discovery_rates(0);
  auto const p = [](double z) { return std::erfc(z / std::sqrt(2.0)); };
  std::vector<double> const expected{4 * p(3), p(1), 2 * p(2.5), 4.0 / 3 * p(2)};
  for (std::size_t g = 0; g < 4; ++g) EXPECT_NEAR(rates[g], expected[g], 1e-12);
}

TEST(Spearman, RanksTiesAtTheirMean) {
  std::vector<double> const a{1, 2, 2, 4}, b{10, 30, 20, 40}, flat{1, 1, 1, 1};
  EXPECT_NEAR(spearman(a, b), 4.5 / std::sqrt(4.5 * 5), 1e-12);
  EXPECT_TRUE(std::isnan(spearman(a, flat)));
}

}  // namespace
