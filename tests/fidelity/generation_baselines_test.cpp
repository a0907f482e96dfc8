// What generated cells are read against: real train cells, and Gaussians in latents and in genes.
#include "retort/fidelity/generation_baselines.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "../shared_folder.hpp"
#include "../small_cells.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/models/scvi_vae.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

class BaselinesTest : public testing::Test {
 protected:
  BaselinesTest() {
    SimulateOptions options;
    options.cells = 900, options.genes = 50, options.types = 3;
    simulate(ranks, options, 3, folder / "atlas.h5ad");
    atlas = std::make_unique<Atlas>(folder / "atlas.h5ad");
    kinds = kinds_of(*atlas, {"cell_type"});
    for (std::int64_t gene = 0; gene < 50; ++gene) counts.genes.push_back(gene);
    logs.genes = {3, 4, 20, 41};
    logs.covers = counts.covers = {true, true, true};
  }

  Communicator const ranks = Communicator::world();
  SharedFolder const folder{ranks, "generation_baselines"};
  std::unique_ptr<Atlas> atlas;
  Kinds kinds;
  Terms counts, logs{.values = CellValues::log_normalised, .genes = {}, .covers = {}};
};

std::vector<std::int64_t> cells_by_kind(CellsOfKinds const& set, std::int64_t kinds) {
  std::vector<std::int64_t> cells(index(kinds));
  for (auto const kind : set.kinds) ++cells[index(kind)];
  return cells;
}

// Both ways of drawing: more points than dimensions, and fewer.
TEST(GaussianLike, HasTheMeanAndCovarianceOfThePoints) {
  at::manual_seed(4);
  for (std::int64_t const n : {200, 5}) {
    at::Tensor const points = at::mm(at::randn({n, 8}), at::randn({8, 8})) + at::arange(8);
    at::Tensor const drawn = gaussian_like(points, 40000, 7, 100).to(at::kDouble), exact = points.to(at::kDouble);
    auto const covariance = [](at::Tensor const& x) {
      return at::mm((x - x.mean(0)).t(), x - x.mean(0)) / (x.size(0) - 1);
    };
    double const scale = covariance(exact).diagonal().max().item<double>();
    EXPECT_LT((drawn.mean(0) - exact.mean(0)).abs().max().item<double>(), 0.03 * std::sqrt(scale)) << n;
    EXPECT_LT((covariance(drawn) - covariance(exact)).abs().max().item<double>(), 0.05 * scale) << n;
    EXPECT_TRUE(at::equal(gaussian_like(points, 10, 7, 105),
                          gaussian_like(points, 40, 7, 100).narrow(0, 5, 10)));  // a cell is its number's
  }
  at::Tensor const one = at::arange(8).to(at::kFloat).view({1, 8});
  EXPECT_TRUE(at::equal(gaussian_like(one, 2, 1, 0), one.expand({2, 8})));
}

// Kinds that no set covers cut nothing.
TEST(RowsInProportion, KeepTheSharesOfTheKindsThatAreCovered) {
  Kinds kinds;
  kinds.names = {"large", "middle", "small"};
  kinds.test_cells = {20000, 1000, 10};
  CellsOfKinds set;
  for (std::int32_t kind = 0; kind < 3; ++kind)
    set.kinds.insert(set.kinds.end(), index(std::min<std::int64_t>(100, kinds.test_cells[index(kind)])), kind);
  auto const of = [&](std::vector<bool> const& covers, std::int64_t most) {
    Terms terms;
    terms.covers = covers;
    std::vector<std::int64_t> cells(3);
    for (auto const row : rows_in_proportion(set, kinds, terms, most)) ++cells[index(set.kinds[index(row)])];
    return cells;
  };
  EXPECT_EQ(of({true, true, true}, 100), (std::vector<std::int64_t>{100, 5, 0}));
  EXPECT_EQ(of({false, true, true}, 100)[1], 100);
  EXPECT_EQ(of({false, true, true}, 100)[2], 1);
  EXPECT_EQ(of({false, false, true}, 100), (std::vector<std::int64_t>(3)));  // nothing was cut: all rows stand for all
}

TEST_F(BaselinesTest, FloorIsOtherRealCellsOfTheSameKinds) {
  auto const floor = train_cells(*atlas, kinds, counts, 5);
  EXPECT_EQ(cells_by_kind(floor, kinds.count()), kinds.test_cells);
  auto const again = train_cells(*atlas, kinds, counts, 5), other = train_cells(*atlas, kinds, counts, 6);
  EXPECT_EQ(again.cells.values, floor.cells.values);
  EXPECT_NE(other.cells.indices, floor.cells.indices);
  auto one = counts;
  one.covers = {false, true, false};
  EXPECT_EQ(cells_by_kind(train_cells(*atlas, kinds, one, 5), 3),
            (std::vector<std::int64_t>{0, kinds.test_cells[1], 0}));
  // Every one is a train cell, and none comes twice.
  std::multiset<std::vector<float>> train;
  for (std::int64_t row = 0; row < atlas->cells(); ++row) {
    if (atlas->parts()[index(row)] == Part::test) continue;
    auto const cell = testing_cells::dense(atlas->read(row, row + 1));
    train.emplace(cell.const_data_ptr<float>(), cell.const_data_ptr<float>() + 50);
  }
  auto const dense = testing_cells::dense(floor.cells);
  for (std::int64_t i = 0; i < dense.size(0); ++i) {
    auto const found =
        train.find(std::vector<float>(dense[i].const_data_ptr<float>(), dense[i].const_data_ptr<float>() + 50));
    ASSERT_NE(found, train.end()) << i;
    train.erase(found);
  }
}

TEST_F(BaselinesTest, GaussianOfGenesHasTheMomentsOfTrainCells) {
  auto const made = gaussian_expression_cells(*atlas, kinds, logs, 5);
  EXPECT_EQ(cells_by_kind(made, kinds.count()), kinds.test_cells);
  auto const x = testing_cells::dense(made.cells).to(at::kDouble);
  EXPECT_GE(x.min().item<double>(), 0);
  std::vector<std::int64_t> train;
  for (std::size_t row = 0; row < kinds.of_row.size(); ++row)
    if (atlas->parts()[row] != Part::test && kinds.of_row[row] == 1) train.push_back(static_cast<std::int64_t>(row));
  auto const real = testing_cells::dense(real_cells(*atlas, kinds, train, logs).cells).to(at::kDouble);
  // The mean of a Gaussian that is cut at 0, by its formula.
  auto const mean = real.mean(0), deviation = real.std(0, false).clamp_min(1e-12), z = mean / deviation;
  auto const expected =
      mean * 0.5 * at::erfc(-z / std::sqrt(2.0)) + deviation * at::exp(-z.square() / 2) / std::sqrt(2 * M_PI);
  auto const rows = x.narrow(0, kinds.test_cells[0], kinds.test_cells[1]);
  auto const error = 4 * deviation / std::sqrt(static_cast<double>(kinds.test_cells[1]));
  EXPECT_TRUE(((rows.mean(0) - expected).abs() < error).all().item<bool>()) << rows.mean(0) << expected;
}

TEST_F(BaselinesTest, CellsOfLatentsAreTheSameOnAnyNumberOfRanks) {
  ScviVae vae({.genes = 50, .hidden = 12, .latent = 3}, 2);
  vae.finish();
  Features latents{atlas->cells(), 3, {}, "", ""};
  for (std::int64_t row = 0; row < atlas->cells(); ++row) {
    auto const code = vae.embed(atlas->read(row, row + 1)).contiguous();
    latents.values.insert(latents.values.end(), code.const_data_ptr<float>(), code.const_data_ptr<float>() + 3);
  }
  Terms const some{CellValues::counts, {1, 2, 3, 40, 49}, {true, true, true}};
  auto const cells_by = [&](Communicator const& by, LatentBaseline baseline, Terms const& terms) {
    return latent_cells(by, baseline, vae, latents, train_libraries(by, *atlas, kinds), *atlas, kinds, terms, 5);
  };
  for (auto const baseline :
       {LatentBaseline::train_cells, LatentBaseline::gaussian_of_kind, LatentBaseline::standard_normal}) {
    auto const made = cells_by(ranks, baseline, some), alone = cells_by(Communicator::serial(), baseline, some);
    EXPECT_EQ(made.cells.indptr, alone.cells.indptr);
    EXPECT_EQ(made.cells.indices, alone.cells.indices);
    EXPECT_EQ(made.cells.values, alone.cells.values);
    EXPECT_EQ(made.kinds, alone.kinds);
    EXPECT_EQ(cells_by_kind(made, kinds.count()), kinds.test_cells);
    EXPECT_EQ(made.cells.genes, 5);
    // Libraries are those of train cells.
    double const made_mean = testing_cells::dense(cells_by(ranks, baseline, counts).cells).sum(1).mean().item<double>(),
                 real_mean = testing_cells::dense(atlas->read(0, 900)).sum(1).mean().item<double>();
    EXPECT_NEAR(made_mean / real_mean, 1, 0.15);
  }
  // What is decoded: of train cells their own latents, of N(0, I) none that a latent of the atlas changes.
  auto const of_train = cells_by(ranks, LatentBaseline::train_cells, counts),
             of_gaussian = cells_by(ranks, LatentBaseline::gaussian_of_kind, counts),
             of_normal = cells_by(ranks, LatentBaseline::standard_normal, counts);
  for (auto& value : latents.values) value += 1;
  EXPECT_NE(cells_by(ranks, LatentBaseline::train_cells, counts).cells.indices, of_train.cells.indices);
  EXPECT_NE(cells_by(ranks, LatentBaseline::gaussian_of_kind, counts).cells.indices, of_gaussian.cells.indices);
  EXPECT_EQ(cells_by(ranks, LatentBaseline::standard_normal, counts).cells.indices, of_normal.cells.indices);
}

}  // namespace
}  // namespace retort
