// Matching `head`: its derivative against finite differences of its loss, and its bits on any number of ranks.
#include "retort/distill/head_matching.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t width = 16, classes = 3;
constexpr double scale = 4;

// Real cells around three centres; one class is rare.
struct World {
  std::vector<std::vector<std::int64_t>> rows_by_class;
  at::Tensor cells, features, labels;

  World() {
    at::manual_seed(11);
    std::int64_t row = 0;
    std::vector<at::Tensor> parts;
    for (std::int64_t const count : {5, 60, 200}) {
      auto& rows = rows_by_class.emplace_back();
      at::Tensor const centre = at::randn({1, width});
      parts.push_back(centre + at::randn({count, width}));
      for (std::int64_t i = 0; i < count; ++i) rows.push_back(row++);
    }
    cells = at::cat(parts) / std::sqrt(static_cast<double>(width));
    features = at::randn({classes * 2, width}) / std::sqrt(static_cast<double>(width));
    labels = at::arange(classes * 2).div(2, "floor");
  }
  RealFeatures real(ShardPlan const& plan) const {
    auto const read = [this](std::span<std::int64_t const> rows) {
      return cells.index_select(0, at::tensor(std::vector<std::int64_t>(rows.begin(), rows.end()), at::kLong));
    };
    return {read, width, rows_by_class, plan, scale};
  }
  // The loss by its definition, in double: train by plain steps, then the mean cross-entropy of all cells.
  double loss(at::Tensor const& set, Head const& start, HeadTraining const& training) const {
    at::Tensor const rows = at::cat({set.to(at::kDouble) * scale, at::ones({set.size(0), 1}, at::kDouble)}, 1);
    UnrolledHead const head(rows, labels, at::cat({start.weight, start.bias.unsqueeze(1)}, 1), training);
    at::Tensor const all = at::cat({cells.to(at::kDouble) * scale, at::ones({cells.size(0), 1}, at::kDouble)}, 1);
    at::Tensor truth = at::zeros({cells.size(0)}, at::kLong);
    for (std::int64_t c = 0; c < classes; ++c)
      for (auto const row : rows_by_class[index(c)]) truth[row] = c;
    return at::cross_entropy_loss(all.mm(head.weight().t()), truth).item<double>();
  }
};

TEST(HeadMatching, HasTheDerivativeOfItsLoss) {
  World const world;
  auto const ranks = Communicator::world();
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  RealFeatures const real = world.real(plan);
  HeadTraining const training{40, 0.05, 0.9, 5e-4};
  HeadMatching const matching(ranks, plan, real, scale, training);
  Head const start = initial_head(classes, width, 1, 7);
  auto const result = matching(world.features, world.labels, start);
  EXPECT_NEAR(result.loss, world.loss(world.features, start, training), 1e-5);
  EXPECT_EQ(matching.loss(world.features, world.labels, start), result.loss);
  at::manual_seed(12);
  at::Tensor const direction = at::randn({classes * 2, width}, at::kDouble), at0 = world.features.to(at::kDouble);
  double const expected =
      (world.loss(at0 + direction * 1e-5, start, training) - world.loss(at0 - direction * 1e-5, start, training)) /
      2e-5;
  EXPECT_NEAR((result.gradient.to(at::kDouble) * direction).sum().item<double>(), expected, 1e-4 * std::abs(expected));
  EXPECT_GT(std::abs(expected), 1e-3);
}

TEST(HeadMatching, StepsDownTheDerivativeTeachMore) {
  World const world;
  auto const ranks = Communicator::world();
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  RealFeatures const real = world.real(plan);
  HeadMatching const matching(ranks, plan, real, scale, {});
  Head const start = initial_head(classes, width, 1, 7);
  at::Tensor features = world.features.clone();
  double const before = matching.loss(features, world.labels, start);
  for (int step = 0; step < 50; ++step) features = features - matching(features, world.labels, start).gradient * 0.05;
  EXPECT_LT(matching.loss(features, world.labels, start), 0.7 * before);
}

TEST(HeadMatching, SameBitsOnAnyNumberOfRanks) {
  World const world;
  Head const start = initial_head(classes, width, 1, 7);
  auto const found = [&](Communicator const& ranks) {
    ShardPlan const plan(4, ranks.rank(), ranks.size());
    RealFeatures const real = world.real(plan);
    return HeadMatching(ranks, plan, real, scale, {})(world.features, world.labels, start);
  };
  auto const together = found(Communicator::world()), alone = found(Communicator::serial());
  EXPECT_EQ(together.loss, alone.loss);
  EXPECT_TRUE(at::equal(together.gradient, alone.gradient));
}

}  // namespace
}  // namespace retort
