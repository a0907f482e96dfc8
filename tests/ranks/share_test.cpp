#include "retort/ranks/share.hpp"

#include <gtest/gtest.h>

#include "retort/run/error.hpp"

namespace retort {
namespace {

TEST(Share, covers_every_row_once_and_evenly) {
  for (std::int64_t rows : {0, 1, 7, 1000, 1001}) {
    for (std::int64_t block : {1, 64}) {
      for (int parts : {1, 2, 3, 5}) {
        std::int64_t next = 0, least = rows, most = 0;
        for (int part = 0; part < parts; ++part) {
          auto const share = share_of(rows, part, parts, block);
          EXPECT_EQ(share.begin, next);
          EXPECT_TRUE(share.begin % block == 0 || share.begin == rows);
          next = share.end;
          least = std::min(least, share.size());
          most = std::max(most, share.size());
        }
        EXPECT_EQ(next, rows);
        EXPECT_LE(most - least, 2 * block - 1);
      }
    }
  }
}

TEST(Share, is_right_past_two_to_the_31) {
  std::int64_t const rows = 100'000'000'000;
  EXPECT_EQ(share_of(rows, 999, 1000).end, rows);
  EXPECT_EQ(share_of(rows, 500, 1000).begin, rows / 2);
}

TEST(ShardPlan, every_shard_has_one_rank_and_more_ranks_than_shards_is_allowed) {
  for (int ranks : {1, 2, 3, 4, 6}) {
    int next = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      ShardPlan const plan(4, rank, ranks);
      EXPECT_EQ(plan.begin(), next);
      next = plan.end();
    }
    EXPECT_EQ(next, 4);
  }
}

TEST(ShardPlan, default_and_refusal) {
  EXPECT_EQ(ShardPlan(0, 0, 1).shards(), 4);
  EXPECT_EQ(ShardPlan(0, 0, 3).shards(), 4);
  EXPECT_EQ(ShardPlan(0, 0, 6).shards(), 8);
  EXPECT_THROW(ShardPlan(6, 0, 1), Failure);
}

}  // namespace
}  // namespace retort
