// Where a distillation stands between two steps: what a checkpoint holds of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "retort/distill/matching.hpp"
#include "retort/distill/scoring.hpp"
#include "retort/distill/synthetic_set.hpp"
#include "retort/session/checkpoint.hpp"

namespace retort {

// What the first draw of a kind of set chose for the later ones.
struct Choice {
  bool made = false;
  double rate = 0;
  std::int64_t iterations = 0;
};

struct SearchState {
  std::int64_t set = 0;               // sets in the order of their export; those before it are exported
  std::int64_t rate = 0;              // which of the rates is tried
  std::int64_t iteration = 0;         // steps taken at it
  std::vector<Candidate> candidates;  // of this set so far; codes of this rank
  std::vector<Choice> choices;        // one a kind of set
  double best_accuracy = -1;          // held out, of the exported sets: the mean of features' and genes'
  std::string best_set;               // its name
  std::string table;                  // what is printed in the end
};

// Collective: the state, the set under way and what it is matched with, as a checkpoint of number `step`.
CheckpointState checkpoint_of(SearchState const& state, SyntheticSet const& set, Matching const& matching,
                              std::int64_t step);
// The state a checkpoint holds, all but the candidates' codes.
SearchState search_state_of(CheckpointState const& saved);
// Puts the set under way and its matching back, and this rank's part of the candidates' codes. Any number of ranks.
void restore_set(CheckpointState const& saved, SearchState& state, SyntheticSet& set, Matching& matching);

}  // namespace retort
