// Logistic regression on all genes with all train cells: what the real data give without an encoder.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/models/regression_loss.hpp"
#include "retort/training/lbfgs.hpp"

namespace retort {

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
  Minimum minimum;                          // of the last search, on all train cells; x is empty
  std::vector<std::int64_t> predicted;      // class of every test cell, in atlas order
};

// Collective: chooses the penalty on the held-out part of train (where there is none, on every fifth cell of the fit
// part), trains on fit and held-out cells together, and predicts the test cells. Each rank reads its shards' rows once
// and keeps them (16 bytes a non-zero). Log values are taken unscaled (docs/decisions.md).
GeneRegression regress_on_genes(Communicator const& ranks, ShardPlan const& plan, Atlas const& atlas,
                                Labels const& labels, RegressionOptions const& options = {});

}  // namespace retort
