// Training steps of the foundation model on this many ranks against the same on one: weights must be equal bit for bit.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "../small_cells.hpp"
#include "retort/cells/csr_rows.hpp"
#include "retort/models/foundation_training.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/training/flat_adamw.hpp"
#include "retort/training/learning_rate.hpp"

using namespace retort;
using namespace retort::testing_cells;

namespace {

constexpr std::int64_t genes = 400, batch = 96, units = 8,
                       steps = 6;  // a batch is the same eight units of 12 cells, however it is cut

CsrBlock cells_of_shard(std::int64_t step, int shard, std::int64_t shards) {
  CsrBlock cells;
  for (std::int64_t unit = shard * units / shards; unit < (shard + 1) * units / shards; ++unit)
    append_rows(cells, random_cells(batch / units, genes, 0.1, static_cast<std::uint64_t>(step * units + unit)));
  return cells;
}

struct Losses {
  double first = 0, last = 0;
};

std::string weights_after_training(Communicator const& ranks, std::int64_t shards, Losses* losses) {
  ShardPlan const plan(shards, ranks.rank(), ranks.size());
  Foundation model({genes, {96, 80, 64}, 16}, 3);
  FoundationTraining training(model, FoundationLoss{});
  GradientArena arena(ranks, plan, model.parameters(), training.statistics());
  arena.broadcast_weights();
  FlatAdamw optimiser(arena, AdamwSettings{});
  for (std::int64_t step = 0; step < steps; ++step) {
    for (std::size_t b = 0; b < arena.blocks().size(); ++b) {
      auto const [first, width] = arena.blocks()[b];
      ShardBatch block{first, width, {}, {}, {}};
      for (int shard = first; shard < first + width; ++shard) {
        auto const cells = cells_of_shard(step, shard, shards);
        append_rows(block.cells, cells);
        for (std::int32_t i = 0; i < cells.rows(); ++i) block.labels.push_back(i % 3);
      }
      arena.begin_block(b);
      (training.block_loss(block, 1, step, arena.statistics()) / static_cast<double>(shards)).backward();
    }
    auto const gradient = arena.sum();
    losses->last = training.update_running(arena.summed_statistics(), plan.shards()).loss;
    if (step == 0) losses->first = losses->last;
    auto const limited = clipped(gradient, arena.norm(), 0.5);
    optimiser.step(limited, learning_rate(step, steps, 1e-3, 0.2));
  }
  return model.weights_hash();
}

}  // namespace

TEST(FoundationRanks, WeightsAreThoseOfOneRank) {
  Communicator const world = Communicator::world(), alone = Communicator::serial();
  for (std::int64_t const shards : {4, 8}) {
    Losses loss, loss_alone;
    auto const together = weights_after_training(world, shards, &loss);
    auto const expected = weights_after_training(alone, shards, &loss_alone);
    EXPECT_EQ(together, expected) << shards << " shards on " << world.size() << " ranks";
    EXPECT_EQ(loss.last, loss_alone.last);
    EXPECT_LT(loss.last, loss.first);  // not a number would not be
  }
}

TEST(FoundationRanks, ShardsAreAHyperParameter) {
  Communicator const world = Communicator::world();
  Losses loss;
  EXPECT_NE(weights_after_training(world, 4, &loss), weights_after_training(world, 8, &loss));
}
