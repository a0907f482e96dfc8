// How a set is judged: fresh heads trained on its features, scored on the real test cells (methods 1.5).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/models/head_training.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

struct LabelledFeatures {
  at::Tensor features;  // [n, width] float32
  at::Tensor labels;    // int64 [n]
};

// What the heads of one set reached; one entry a head.
struct HeadScores {
  std::vector<Scores> test;
  std::vector<double> held_out;  // accuracy in per cent on the held-out part of train; empty where it has no cells
  std::vector<std::int64_t> confusion = {};  // [true class, predicted class] test cells of the first head
};

// Counts of truth and prediction, int64 [n] both: [true class, predicted class]. Not collective.
std::vector<std::int64_t> confusion_of(at::Tensor const& predicted, at::Tensor const& truth, std::int64_t classes);

// Collective: trains heads first_head ... first_head + heads - 1 of `seed` on `train` and scores the last epoch's (no
// picking of epochs). Heads are shared out over ranks and each is one rank's work alone, so the scores are bit-equal on
// any number of ranks. All ranks hold all three sets.
HeadScores train_and_score(Communicator const& ranks, LabelledFeatures const& train, LabelledFeatures const& test,
                           LabelledFeatures const& held_out, std::int64_t classes, std::int64_t heads,
                           std::uint64_t first_head, HeadOptions const& options, std::uint64_t seed);

}  // namespace retort
