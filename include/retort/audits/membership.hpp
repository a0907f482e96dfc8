// Membership inference: can one tell from a set, and from the encoder, which real cells it was made from?
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "retort/evaluate/distilled_sets.hpp"
#include "retort/evaluate/evaluation_data.hpp"

namespace retort {

// Real cells, for the attack that needs expression: of each class the first 300 of the fit part and the first 300
// others (rows of an atlas are shuffled), so that every rank can hold them.
struct SampledCells {
  std::vector<std::int64_t> rows;
  CsrBlock cells;  // log-normalised
};
SampledCells sample_cells(EvaluationData const& data);

// Members are the fit part of train, non-members the held-out and the test part: for every set, so that sets which saw
// held-out cells as well (random cells, class means) are controls on the same cells. Three attacks score a real cell of
// a class that the set has:
//   membership_*  minus the distance of its features to the nearest of the set's of its class: by the set and the
//   encoder confidence_*  the log-probability that a head trained on the set gives its class: by the same expression_*
//   minus the distance of its log-normalised expression to the nearest cell of the set of its class: by the set alone
// Each gives an AUC over all cells and one a class with its 95 % interval; classes with fewer than 10 members or
// non-members are named under too_few_cells. `leaks`: classes where the lower bound of one of the first two is above
// 0.6; `expression_leaks`: of the third. The encoder has seen the members too, and the first two count what it
// remembers: where class means score as high as the set, that is the encoder's leak. `copies`: cells of the set whose
// features are a real cell's of their class (distance below 1e-5). `set`: the features of `made`. Not collective.
nlohmann::json audit_membership(EvaluationData const& data, SampledCells const& sampled, LabelledFeatures const& set,
                                DistilledSet const& made, HeadOptions const& options, std::uint64_t seed);

}  // namespace retort
