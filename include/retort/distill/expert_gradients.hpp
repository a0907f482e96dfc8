// The gradients that real cells give a head, class by class, formed by all ranks (design: expert gradients).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "retort/distill/real_features.hpp"
#include "retort/models/head_pass.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

class ExpertGradients {
 public:
  // Collective. Keeps references to the first three. `hidden`: the widths of the heads' hidden layers. `cells_a_class`
  // 0: all fit cells of a class, which is exact; otherwise a sample of about so many, drawn anew in every iteration
  // from (seed, draw), the same on any number of ranks.
  ExpertGradients(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real,
                  std::vector<std::int64_t> const& hidden, std::int64_t cells_a_class, std::uint64_t seed);
  ~ExpertGradients();

  // Collective: gradients of the head's mean cross-entropy -> [classes, gradient_length] float32: entry [c] is of class
  // c (see layer_gradients; of a linear head it is [classes, width + 1]). Every rank forms the sums of its shards' rows
  // as matrix products, and they are joined in one fixed tree: bit-equal on 1, 2, 4 ... ranks.
  at::Tensor operator()(Head const& head, std::uint64_t draw) const;

  // From what operator() gave: the gradient of the mean cross-entropy of all cells, classes as frequent as they are.
  // [gradient_length]
  at::Tensor over_all_cells(at::Tensor const& by_class) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
