// The moving average of shared weights, against the same average of one rank's own copy.
#include "retort/training/moving_average.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace retort {
namespace {

TEST(MovingAverage, IsTheAverageOfTheWeightsAfterEachStepAndForgetsTheFirst) {
  Communicator const ranks(MPI_COMM_WORLD);
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  at::manual_seed(1);
  std::vector<at::Tensor> const parameters{at::randn({33, 70}), at::randn({5})};
  GradientArena arena(ranks, plan, parameters, 0);
  arena.broadcast_weights();
  MovingAverage average(arena, 0.75);
  at::Tensor expected = arena.weights().clone();
  EXPECT_TRUE(at::equal(average.values(), expected));
  arena.fence();  // no rank changes what another still reads
  for (int step = 0; step < 40; ++step) {
    arena.own_part(arena.weights()).add_(step % 3 - 0.7);  // an optimiser's step
    arena.fence();
    double const keep = step < 26 ? (1.0 + step) / (10.0 + step) : 0.75;
    expected = keep * expected + (1 - keep) * arena.weights();
    average.update(step);
    EXPECT_LT((average.values() - expected).abs().max().item<double>(), 1e-5) << "step " << step;
    arena.fence();
  }
  at::Tensor const last = arena.weights().clone(), averaged = average.values().clone();
  arena.fence();
  average.take_over();
  EXPECT_TRUE(at::equal(arena.weights(), averaged));
  EXPECT_FALSE(at::equal(arena.weights(), last));
}

}  // namespace
}  // namespace retort
