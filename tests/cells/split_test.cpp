#include "retort/cells/split.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "retort/run/index.hpp"

using namespace retort;

namespace {

std::vector<std::int64_t> counts_of(std::vector<Part> const& parts, std::vector<std::int32_t> const& classes,
                                    std::int32_t wanted) {
  std::vector<std::int64_t> counts(3, 0);
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (classes[i] == wanted) ++counts[index(parts[i])];
  return counts;
}

TEST(Split, EveryClassGivesItsShare) {
  std::vector<std::int32_t> classes;
  for (int i = 0; i < 1000; ++i) classes.push_back(i % 10 == 0 ? 1 : 0);
  auto const parts = stratified_split(classes, 2, {0.3, 0.2}, 7);
  EXPECT_EQ(counts_of(parts, classes, 0),
            (std::vector<std::int64_t>{504, 126, 270}));  // of 900: 270 test, 126 of 630 held out
  EXPECT_EQ(counts_of(parts, classes, 1), (std::vector<std::int64_t>{56, 14, 30}));
}

TEST(Split, SmallClasses) {
  std::vector<std::int32_t> const classes{0, 1, 1, 2, 2, 2, 3, 3, 3, 3};
  auto const parts = stratified_split(classes, 5, {0.3, 0.2}, 7);
  EXPECT_EQ(counts_of(parts, classes, 0), (std::vector<std::int64_t>{1, 0, 0}));  // one cell stays in train
  EXPECT_EQ(counts_of(parts, classes, 1), (std::vector<std::int64_t>{1, 0, 1}));  // and one fit cell always stays
  EXPECT_EQ(counts_of(parts, classes, 2), (std::vector<std::int64_t>{1, 1, 1}));
  EXPECT_EQ(counts_of(parts, classes, 3), (std::vector<std::int64_t>{2, 1, 1}));
}

TEST(Split, FractionsOfZeroTakeNone) {
  std::vector<std::int32_t> const classes(50, 0);
  EXPECT_EQ(counts_of(stratified_split(classes, 1, {0, 0}, 7), classes, 0), (std::vector<std::int64_t>{50, 0, 0}));
}

TEST(Split, HeldOutDoesNotMoveTheTest) {
  std::vector<std::int32_t> const classes(300, 0);
  auto const some = stratified_split(classes, 1, {0.3, 0.2}, 7), other = stratified_split(classes, 1, {0.3, 0.5}, 7);
  for (std::size_t i = 0; i < classes.size(); ++i) EXPECT_EQ(some[i] == Part::test, other[i] == Part::test);
  EXPECT_NE(stratified_split(classes, 1, {0.3, 0.2}, 8), some);
}

TEST(Shuffle, IsAPermutationOfItsSeed) {
  auto order = shuffled_order(1000, 3);
  EXPECT_EQ(order, shuffled_order(1000, 3));
  EXPECT_NE(order, shuffled_order(1000, 4));
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  std::vector<std::int64_t> all(1000);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(order, all);
}

}  // namespace
