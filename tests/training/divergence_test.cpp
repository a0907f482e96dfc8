// Training that leaves the numbers on one rank ends on all, in that rank's name.
#include "retort/training/divergence.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "retort/run/error.hpp"

namespace retort {
namespace {

// One step of which the shards of rank `bad` are not finite; who is named, -1 where nobody is.
int named_rank(Communicator const& ranks, int bad) {
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  at::Tensor const weight = at::ones({20}).requires_grad_(true);
  GradientArena arena(ranks, plan, {weight}, 1);
  for (int shard = arena.first_shard(); shard < arena.end_shard(); ++shard) {
    arena.begin_shard(shard);
    (weight * (ranks.rank() == bad ? std::numeric_limits<float>::quiet_NaN() : 2.0F)).sum().backward();
    arena.statistics().add_(1);
  }
  double const norm = arena.sum().norm().item<double>();
  try {
    require_finite(ranks, arena, arena.summed_statistics()[0].item<double>(), norm, "Lower the rate");
  } catch (Failure const& failure) {
    EXPECT_EQ(failure.code, ExitCode::failed);
    EXPECT_NE(std::string(failure.what()).find("Lower the rate"), std::string::npos);
    EXPECT_NE(std::string(failure.what()).find("no checkpoint was written before"), std::string::npos);
    return failure.first_rank;
  }
  return -1;
}

TEST(RequireFinite, NamesTheRankThatIsNot) {
  auto const ranks = Communicator::world();
  EXPECT_EQ(named_rank(ranks, -1), -1);
  for (int bad = 0; bad < ranks.size(); ++bad) EXPECT_EQ(named_rank(ranks, bad), bad);
}

}  // namespace
}  // namespace retort
