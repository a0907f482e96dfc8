// Logistic regression on all genes with all train cells: what the real data give without an encoder.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/cells/csr_block.hpp"
#include "retort/evaluate/lbfgs.hpp"
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
  RegressionLoss(Communicator const& ranks, ShardPlan const& plan, std::vector<LabelledCells> const& own, std::int64_t genes,
                 std::int64_t classes);
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

struct RegressionOptions {
  // Tried from strong to weak, each from the last one's minimum, until three in a row were no better on held-out cells.
  std::vector<double> penalties{1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4};
  LbfgsOptions choice{.tolerance = 1e-3, .least_gain = 1e-5};  // while the penalty is chosen
  LbfgsOptions search{.tolerance = 1e-4, .least_gain = 1e-7};  // of the model that is used
};

struct GeneRegression {
  std::vector<float> weight, bias;  // [genes, classes], [classes]; of log-normalised values
  double penalty = 0;
  std::optional<double> held_out_accuracy;  // per cent, at this penalty, of the model that saw the fit cells alone
  Minimum minimum;                  // of the last search, on all train cells; x is empty
  std::vector<std::int64_t> predicted;  // class of every test cell, in atlas order
};

// Collective: chooses the penalty on the held-out part of train (where there is none, on every fifth cell of the fit part), trains on fit and held-out cells together, and predicts
// the test cells. Each rank reads its shards' rows once and keeps them (16 bytes a non-zero). Log values are
// taken unscaled (docs/decisions.md).
GeneRegression regress_on_genes(Communicator const& ranks, ShardPlan const& plan, Atlas const& atlas, Labels const& labels,
                                RegressionOptions const& options = {});

// Class with the highest score, ties to the lower; weight [genes, classes], bias [classes]. Not collective.
std::vector<std::int64_t> predict_classes(CsrBlock const& cells, std::span<float const> weight, std::span<float const> bias);

}  // namespace retort
