// The gradients that real cells give a head, class by class, formed by all ranks (design: expert gradients).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "retort/matching/real_features.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

class ExpertGradients {
 public:
  // Collective. Keeps references to all three. `cells_a_class` 0: all fit cells of a class, which is exact; otherwise a
  // sample of about so many, drawn anew in every iteration from (seed, draw), the same on any number of ranks.
  ExpertGradients(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, std::int64_t cells_a_class,
                  std::uint64_t seed);
  ~ExpertGradients();

  // Collective: mean cross-entropy gradients of softmax(f W^T + b) for weight [classes, width], bias [classes]
  // -> [classes, classes, width + 1] float32: entry [c] is of class c, the last column is the bias's. Every rank forms the
  // sums of its shards' rows as matrix products, and they are joined in one fixed tree: bit-equal on 1, 2, 4 ... ranks.
  at::Tensor operator()(at::Tensor const& weight, at::Tensor const& bias, std::uint64_t draw) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
