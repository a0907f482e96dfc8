// What each gene does in each class: moments, and the rank-sum test of the class against the rest.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace retort {

// A value that is not zero and the class of its cell, as one number that sorts by value.
std::uint64_t classed_value(float value, std::int32_t of_class);

struct GeneStatistics {
  explicit GeneStatistics(std::vector<std::int64_t> cells_of_class) : cells(std::move(cells_of_class)) {}
  std::vector<std::int64_t> cells;  // [classes]
  // [genes, classes]: cells that are not zero, sum and sum of squares of the values, z of the Wilcoxon rank-sum test of
  // the class against all other cells (ties corrected, no continuity correction: scanpy's wilcoxon with tie_correct); 0
  // where there is no test.
  std::vector<double> nonzeros, sum, squares, score;

  std::int64_t classes() const { return static_cast<std::int64_t>(cells.size()); }
  std::int64_t genes() const { return static_cast<std::int64_t>(sum.size() / cells.size()); }
  std::int64_t all_cells() const;
  // Appends a gene: its values that are not zero, in any order; sorts them. Zeros are ranked without being there. The
  // result is a function of the values alone, not of their order.
  void add_gene(std::span<std::uint64_t> classed_values);
  // log2 fold change of each gene, class over rest, of the means of log1p values (a pseudo-count of 1 in 1e4). NaN
  // without both.
  std::vector<double> folds(std::int64_t of_class) const;
  // Benjamini and Hochberg's adjusted two-sided p of each gene (JRSS B 1995).
  std::vector<double> false_discovery_rates(std::int64_t of_class) const;
};

// Spearman's correlation, ties at their mean rank; NaN where either is constant.
double spearman(std::span<double const> a, std::span<double const> b);

}  // namespace retort
