// How a set's cells look beside the real train cells, gene by gene: sparsity, spread, and which genes mark a class.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

#include "retort/audits/expression.hpp"

namespace retort {

// zero_proportion: exact zeros, means over the set's classes, real, distilled and by class; below_smallest: the set's
// share under the smallest real value that is not zero, exact zeros included (an optimised float is small, not zero).
// detected_genes: values a cell at or above that value; real_interval: 5th and 95th percentile of the real cells, both
// as means over classes; inside: share of the set's cells within their own class's. library_size: a distilled cell sums
// to 1e4 by construction, so only the largest relative deviation of expm1's sum is told. coefficient_of_variation: over
// all cells, of genes that both have: medians, and Spearman over genes. Not collective.
nlohmann::json audit_sparsity(Expression const& real, Expression const& distilled, DistilledSet const& set,
                              std::vector<std::string> const& names);

// Each class against the rest. fold_spearman: of the log2 fold changes over genes; jaccard_at_50: of the 50 genes of
// highest fold change; precision_at_50: share of the set's such genes among the real cells' 50 highest Wilcoxon scores:
// means over classes, and by class. calls: Wilcoxon at a false discovery rate of 0.05, right where the real cells' call
// has the same sign; precision and recall over all classes that have 5 cells in both, null where none has. Null where a
// set has one class. Not collective.
nlohmann::json audit_marker_genes(GeneStatistics const& real, GeneStatistics const& distilled,
                                  std::vector<std::string> const& names);

}  // namespace retort
