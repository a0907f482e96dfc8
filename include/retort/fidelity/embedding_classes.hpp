// What classes an autoencoder's latents tell apart: classifiers trained on train cells' latents and tried on test
// cells' (methods 3.7).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "retort/evaluate/protocol.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// Per cent but for the areas. Means over the classes that have test cells; the areas (of ROC curves and of
// precision-recall curves, one class against the rest) also leave out a class that all test cells have. NaN where no
// class is left.
struct EmbeddingScores {
  double accuracy = 0, macro_f1 = 0, roc_auc = 0, pr_auc = 0;
};

// Of scores [n, classes] (the highest is predicted, ties to the lower class) and the truth, int64 [n]. As sklearn's
// accuracy_score, f1_score, roc_auc_score (ovr, macro) and average_precision_score. Not collective.
EmbeddingScores score_of_scores(at::Tensor const& scores, at::Tensor const& truth);

// The k nearest train cells (L2) vote, each with one voice: [test, classes] shares of voices, float64. All train cells
// where they are fewer than k. Collective: blocks of 256 test cells are shared out; the same bits on any number of
// ranks.
at::Tensor neighbour_votes(Communicator const& ranks, LabelledFeatures const& train, at::Tensor const& test,
                           std::int64_t classes, std::int64_t k);

// Multinomial logistic regression on latents that are standardised by the train cells, C = 1 and at most 100
// iterations as sklearn's defaults are: [test, classes] probabilities, float64. Collective; bit-equal on any number of
// ranks up to the shards.
at::Tensor regression_probabilities(Communicator const& ranks, ShardPlan const& plan, LabelledFeatures const& train,
                                    at::Tensor const& test, std::int64_t classes);

nlohmann::json json_of(EmbeddingScores const& scores);

}  // namespace retort
