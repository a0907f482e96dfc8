#include "retort/ranks/ordered_sum.hpp"

#include <gtest/gtest.h>

#include "retort/run/random.hpp"

namespace retort {
namespace {

// Values of very different sizes, so that another order of additions gives other bits.
std::vector<float> shard_values(int shard, std::int64_t length) {
  Random random(11, purpose::weights, static_cast<std::uint64_t>(shard));
  std::vector<float> values;
  for (std::int64_t i = 0; i < length; ++i)
    values.push_back(static_cast<float>(random.normal() * std::pow(10.0, random.uniform() * 8)));
  return values;
}

std::vector<float> tree(int begin, int width, std::int64_t length) {
  if (width == 1) return shard_values(begin, length);
  auto left = tree(begin, width / 2, length);
  auto const right = tree(begin + width / 2, width / 2, length);
  for (std::size_t i = 0; i < left.size(); ++i) left[i] += right[i];
  return left;
}

TEST(OrderedSum, walks_the_same_tree_on_any_number_of_ranks) {
  auto const world = Communicator::world();
  for (int shards : {1, 4, 16}) {
    for (std::int64_t length : {1, 1000, 40001}) {
      ShardPlan const plan(shards, world.rank(), world.size());
      EXPECT_EQ(ordered_sum<float>(world, plan, length, [&](int s) { return shard_values(s, length); }),
                tree(0, shards, length));
    }
  }
}

TEST(OrderedSum, nodes_of_any_size_give_the_same_bits) {
  auto const world = Communicator::world();
  for (int ranks_a_node = 1; ranks_a_node <= world.size();
       ++ranks_a_node) {            // three ranks in nodes of two: nodes of 2 and 1
    for (int shards : {1, 4, 8}) {  // one shard: ranks, and nodes, that hold nothing
      for (std::int64_t length : {1, 1001, 40001}) {
        ShardPlan const plan(shards, world.rank(), world.size());
        OrderedSum<float> sum(world, plan, length, ranks_a_node);
        for (int repeat = 0; repeat < 2; ++repeat) {
          for (std::size_t i = 0; i < sum.blocks().size(); ++i) {
            auto const part = tree(sum.blocks()[i].begin, sum.blocks()[i].width, length);
            std::copy(part.begin(), part.end(), sum.block(i).begin());
          }
          auto const total = sum.sum();
          EXPECT_EQ(std::vector<float>(total.begin(), total.end()), tree(0, shards, length))
              << shards << " shards in nodes of " << ranks_a_node;
        }
      }
    }
  }
}

TEST(OrderedSum, the_order_matters_for_these_values) {  // or the tests above could not fail
  std::vector<float> in_turn(1000);
  for (int s = 0; s < 4; ++s) {
    auto const values = shard_values(s, 1000);
    for (std::size_t i = 0; i < values.size(); ++i) in_turn[i] += values[i];
  }
  EXPECT_NE(in_turn, tree(0, 4, 1000));
}

TEST(ShardBlocks, are_aligned_and_cover) {
  for (int begin = 0; begin <= 16; ++begin) {
    for (int end = begin; end <= 16; ++end) {
      int next = begin;
      for (auto const& block : shard_blocks(begin, end)) {
        EXPECT_EQ(block.begin, next);
        EXPECT_EQ(block.begin % block.width, 0);
        next += block.width;
      }
      EXPECT_EQ(next, end);
    }
  }
  EXPECT_EQ(shard_blocks(0, 4).size(), 1u);
}

}  // namespace
}  // namespace retort
