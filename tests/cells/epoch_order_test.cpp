// The order of an epoch: every element once, a function of the seed, mixed within its windows.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "retort/cells/batch_stream.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

using namespace retort;

TEST(EpochOrder, EveryElementOnceAnEpoch) {
  for (std::int64_t rows : {1, 7, 64, 1000, 1025}) {
    EpochOrder order(rows, {32, 16, 4}, 5);
    std::vector<std::int64_t> first;
    for (int epoch = 0; epoch < 3; ++epoch) {
      auto elements = order.elements(epoch * rows, (epoch + 1) * rows);
      if (epoch == 0) first = elements;
      if (epoch == 1 && rows > 30) {
        EXPECT_NE(first, elements);
      }
      std::sort(elements.begin(), elements.end());
      std::vector<std::int64_t> expected(index(rows));
      std::iota(expected.begin(), expected.end(), std::int64_t{0});
      EXPECT_EQ(elements, expected) << rows << " rows, epoch " << epoch;
    }
  }
}

TEST(EpochOrder, DoesNotDependOnHowItIsAsked) {
  EpochOrder whole(1000, {32, 16, 4}, 5), pieces(1000, {32, 16, 4}, 5), backwards(1000, {32, 16, 4}, 5),
      other(1000, {32, 16, 4}, 6);
  auto const all = whole.elements(0, 2500);
  std::vector<std::int64_t> joined;
  for (std::int64_t begin = 0; begin < 2500; begin += 25) {
    auto const piece = pieces.elements(begin, begin + 25);
    joined.insert(joined.end(), piece.begin(), piece.end());
  }
  EXPECT_EQ(joined, all);
  for (std::int64_t begin = 2475; begin >= 0; begin -= 25) {
    auto const piece = backwards.elements(begin, begin + 25);
    EXPECT_TRUE(std::equal(piece.begin(), piece.end(), all.begin() + begin));
  }
  EXPECT_NE(other.elements(0, 2500), all);
}

TEST(EpochOrder, RowsOfAWindowLieTogether) {
  EpochOrder order(4096, {64, 64, 4}, 1);
  auto const window = order.elements(0, 256);
  std::vector<std::int64_t> blocks;
  for (auto const element : window) blocks.push_back(element / 64);
  EXPECT_FALSE(std::is_sorted(blocks.begin(), blocks.end()));
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  EXPECT_EQ(blocks.size(), 4u);  // so that a window is read from four places
  EXPECT_NE(blocks, (std::vector<std::int64_t>{0, 1, 2, 3}));
}

TEST(EpochOrder, RefusesNothing) {
  EXPECT_THROW(EpochOrder(10, {0, 16, 4}, 1), Failure);
  EXPECT_THROW(EpochOrder(10, {32, 0, 4}, 1), Failure);
  EXPECT_THROW(EpochOrder(10, {32, 16, 0}, 1), Failure);
}
