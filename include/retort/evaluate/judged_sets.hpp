// The sets that evaluation judges: what was distilled, read back, and what costs nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "retort/evaluate/distilled_sets.hpp"
#include "retort/evaluate/evaluation_data.hpp"
#include "retort/evaluate/protocol.hpp"
#include "retort/session/session.hpp"

namespace retort {

// One set to train classifiers on. `make` runs on one rank, which spreads the features.
struct JudgedDraw {
  std::function<DistilledSet()> make;
  double seconds = 0;  // of making it
  LabelledFeatures set;
  std::string name = {};  // of what was distilled
};

// One row of the table that has a number of cells a class.
struct JudgedSet {
  std::string variant, matching;
  std::int64_t spc = 0;
  std::vector<JudgedDraw> draws;
};

// Collective: the rows that cost nothing, for one number of cells a class: those of random, medoid, class_mean, kmeans
// and kmeans_mean that `rows` names. Keeps references to `data`.
void add_baselines(Session const& session, EvaluationData const& data, std::vector<std::string> const& rows,
                   std::int64_t random_draws, std::int64_t spc, std::vector<JudgedSet>& sets);

// Collective: makes and encodes all sets, each on one rank, and spreads labels and features.
void encode_sets(Session const& session, Foundation& foundation, std::vector<JudgedSet>& sets);

}  // namespace retort
