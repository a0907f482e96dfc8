// The loss of logistic regression on genes over all real cells, and its derivative, formed by all ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "retort/cells/csr_block.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/ordered_sum.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// Cells of one virtual shard and their classes.
struct LabelledCells {
  CsrBlock cells;                    // log-normalised
  std::vector<std::int32_t> labels;  // one a row
};

// mean cross-entropy of softmax(x W + b) + penalty / 2 ||W||^2 (the bias is free). sklearn's LogisticRegression has the
// same minimum at C = 1 / (penalty cells). Cells stay sparse, forward and backward.
class RegressionLoss {
 public:
  // Collective. `own` holds one entry for each shard of this rank, in order, and must outlive the loss.
  RegressionLoss(Communicator const& ranks, ShardPlan const& plan, std::vector<LabelledCells> const& own,
                 std::int64_t genes, std::int64_t classes);
  // Weight [genes, classes], then bias [classes].
  std::int64_t size() const { return (genes_ + 1) * classes_; }
  // Collective: `x` and the results are equal on all ranks, and bit-equal on any number of ranks up to the shards.
  double operator()(std::vector<double> const& x, std::vector<double>& gradient, double penalty);

 private:
  std::vector<double> sum_of_shard(LabelledCells const& shard, CsrBlock const& by_gene) const;

  std::vector<LabelledCells> const& own_;
  std::vector<CsrBlock> by_gene_;  // the transposed shards: a row a gene, its indices are cells
  std::int64_t genes_, classes_, lanes_, cells_;
  int first_shard_;
  std::vector<float> weight_, bias_;  // [genes, lanes], [lanes]: classes padded to whole vector registers
  OrderedSum<double> sum_;
};

// Class with the highest score, ties to the lower; weight [genes, classes], bias [classes]. Not collective.
std::vector<std::int64_t> predict_classes(CsrBlock const& cells, std::span<float const> weight,
                                          std::span<float const> bias);

}  // namespace retort
