// Training steps of the foundation model on this many ranks against the same on one: weights must be equal bit for bit.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "../small_cells.hpp"
#include "retort/models/foundation_training.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/training/flat_adamw.hpp"
#include "retort/training/learning_rate.hpp"

using namespace retort;
using namespace retort::testing_cells;

namespace {

constexpr std::int64_t genes = 400, cells_of_a_shard = 12, steps = 6;

std::string weights_after_training(Communicator const& ranks, std::int64_t shards, double* last_loss) {
  ShardPlan const plan(shards, ranks.rank(), ranks.size());
  Foundation model({genes, {96, 80, 64}, 16}, 3);
  FoundationTraining training(model, FoundationLoss{});
  GradientArena arena(ranks, plan, model.parameters(), training.statistics());
  arena.broadcast_weights();
  FlatAdamw optimiser(arena.weights(), AdamwSettings{});
  for (std::int64_t step = 0; step < steps; ++step) {
    for (int shard = arena.first_shard(); shard < arena.end_shard(); ++shard) {
      auto const cells = random_cells(cells_of_a_shard, genes, 0.1, static_cast<std::uint64_t>(step * shards + shard));
      std::vector<std::int32_t> labels;
      for (std::int32_t i = 0; i < cells_of_a_shard; ++i) labels.push_back(i % 3);
      arena.begin_shard(shard);
      auto const loss = training.shard_loss(cells, labels, 1, step, shard, arena.statistics());
      (loss / static_cast<double>(shards)).backward();
    }
    auto const gradient = arena.sum();
    *last_loss = training.update_running(arena.summed_statistics(), plan.shards()).loss;
    auto const limited = clipped(gradient, gradient_norm(gradient), 0.5);
    optimiser.step(limited, learning_rate(step, steps, 1e-3, 0.2));
  }
  return model.weights_hash();
}

}  // namespace

TEST(FoundationRanks, WeightsAreThoseOfOneRank) {
  Communicator const world = Communicator::world(), alone = Communicator::serial();
  for (std::int64_t const shards : {4, 8}) {
    double loss = 0, loss_alone = 0;
    auto const together = weights_after_training(world, shards, &loss);
    auto const expected = weights_after_training(alone, shards, &loss_alone);
    EXPECT_EQ(together, expected) << shards << " shards on " << world.size() << " ranks";
    EXPECT_EQ(loss, loss_alone);
    EXPECT_LT(loss, 3.0);  // of about 0.35 before; not a number would be neither
  }
}

TEST(FoundationRanks, ShardsAreAHyperParameter) {
  Communicator const world = Communicator::world();
  double loss = 0;
  EXPECT_NE(weights_after_training(world, 4, &loss), weights_after_training(world, 8, &loss));
}
