// Matching `head`: the synthetic cells are moved so that a head trained on them is good on all real cells.
//
// Ours, beyond the papers (docs/decisions.md): dc and dm compare what a set does at one moment of a head's training;
// this goes back through the training itself. The outer loss is the trained head's mean cross-entropy on all real fit
// cells.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "retort/distill/real_features.hpp"
#include "retort/distill/unrolled_head.hpp"
#include "retort/models/head_training.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

class HeadMatching {
 public:
  // Collective. Keeps references to all three. `feature_scale` is what `real` was read with.
  HeadMatching(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, double feature_scale,
               HeadTraining const& training);
  ~HeadMatching();

  struct Result {
    double loss = 0;      // mean cross-entropy of all real fit cells
    at::Tensor gradient;  // its derivative by the features, [n, width]
  };
  // Collective. Features [n, width] float32 and labels int64 [n] of the whole synthetic set, the same on all ranks;
  // `start`: the head before its training. The sums over real cells are formed by all ranks in one fixed tree; the
  // training on the set, which is small, by every rank alike. Bit-equal on any number of ranks.
  Result operator()(at::Tensor const& features, at::Tensor const& labels, Head const& start) const;
  // Collective: the loss alone.
  double loss(at::Tensor const& features, at::Tensor const& labels, Head const& start) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// As many steps, so long that the head comes as far as one that is evaluated with `head`, in one batch an epoch, does
// before its rate falls; none longer than 0.05.
HeadTraining head_training_like(HeadOptions const& head, std::int64_t steps);

}  // namespace retort
