#include "retort/report/real_cells.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "retort/run/index.hpp"

using namespace retort;

namespace {

TEST(StratifiedRows, TakesTestCellsByShareAndSmallClassesWhole) {
  Labels labels{"type", {"common", "rare", "none"}, {}};
  std::vector<Part> parts;
  for (int i = 0; i < 1000; ++i)
    labels.codes.push_back(i % 100 == 0), parts.push_back(i % 2 == 0 ? Part::test : Part::fit);
  auto const rows = stratified_rows(labels, parts, 100, 30, 5);
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
  EXPECT_EQ(std::adjacent_find(rows.begin(), rows.end()), rows.end());
  std::int64_t rare = 0;
  for (auto const row : rows) {
    EXPECT_EQ(parts[index(row)], Part::test);
    rare += labels.codes[index(row)];
  }
  EXPECT_EQ(rare, 10);                     // all of them
  EXPECT_EQ(std::ssize(rows) - rare, 98);  // 490 of 500, of 100
  EXPECT_EQ(rows, stratified_rows(labels, parts, 100, 30, 5));
  EXPECT_NE(rows, stratified_rows(labels, parts, 100, 30, 6));
  std::fill(parts.begin(), parts.end(), Part::fit);
  EXPECT_EQ(std::ssize(stratified_rows(labels, parts, 5000, 0, 5)), 1000);  // no test cells: all
}

// Cells of three classes and four genes: gene 0 marks class 0, genes 1 and 3 class 1; class 2 has no cells; gene 2 is
// the same everywhere.
CsrBlock three_cells() {
  CsrBlock cells;
  cells.genes = 4;
  cells.indptr = {0, 2, 4, 7};
  cells.indices = {0, 2, 0, 2, 1, 2, 3};
  cells.values = {4, 1, 2, 1, 5, 1, 2};
  return cells;
}

TEST(ClassMeans, AreThoseByHand) {
  auto const means = class_means(three_cells(), {0, 0, 1}, 3);
  EXPECT_EQ(means.mean, (std::vector<double>{3, 0, 1, 0, 0, 5, 1, 2, 0, 0, 0, 0}));
  EXPECT_EQ(means.cells, (std::vector<std::int64_t>{2, 1, 0}));
  EXPECT_NEAR(means.variance[0], (16 + 4) / 3.0 - 4, 1e-12);
  EXPECT_NEAR(means.variance[2], 0, 1e-12);
}

TEST(MarkerGenes, MarkOneClassEach) {
  auto const means = class_means(three_cells(), {0, 0, 1}, 3);
  EXPECT_EQ(marker_genes(means, 3), (std::vector<std::vector<std::int64_t>>{{0}, {1, 3}, {}}));
  EXPECT_EQ(marker_genes(means, 1), (std::vector<std::vector<std::int64_t>>{{0}, {1}, {}}));
}

}  // namespace
