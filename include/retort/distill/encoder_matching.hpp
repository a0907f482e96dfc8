// Gradient matching with an unfrozen encoder (scDD, table VII): the gradients that are matched are those of the
// encoder's weight matrices and of the head's on top of it, row by row.
//
// For small studies. An iteration sends a sample of real cells of every class forward and back through the encoder,
// shared out over ranks, and sums for each class as many floats as the two networks have weights; a rank holds a few
// such sums at a time (of its blocks of shards), whatever the number of classes. Every rank matches the whole synthetic
// set.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "retort/distill/gene_matching.hpp"
#include "retort/models/foundation.hpp"
#include "retort/models/head_pass.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// The weight matrices of the encoder's layers and of the head's: what LayerPass and the gradients below have one entry
// of. Cells [n, genes] float32, log-normalised, labels int64 [n]; `feature_scale`: of what the head sees. BatchNorm by
// running statistics, no dropout. Differentiable in the cells where gradients are recorded. The encoder is frozen (its
// weights are not moved by anything here).
LayerPass pass_through(Foundation const& encoder, Head const& head, double feature_scale, at::Tensor const& cells,
                       at::Tensor const& labels);

class EncoderMatching {
 public:
  using Read = GeneMatching::Read;
  // Collective. Keeps references to the first three and to the rows. `hidden`: the widths of the heads' hidden layers.
  // `cells_a_class`: a sample of about so many real cells of each class, drawn from (seed, draw), the same on any
  // number of ranks.
  EncoderMatching(Communicator const& ranks, ShardPlan const& plan, Foundation const& encoder, double feature_scale,
                  Read read, std::vector<std::vector<std::int64_t>> const& rows_by_class,
                  std::vector<std::int64_t> const& hidden, std::int64_t cells_a_class, std::uint64_t seed);
  ~EncoderMatching();

  struct Result {
    double loss = 0;      // sum over classes
    at::Tensor by_cells;  // its derivative [n, genes]
  };
  // Collective. Cells [classes * spc, genes] of the whole set, sorted by class, the same on all ranks. Bit-equal on any
  // number of ranks.
  Result operator()(Head const& head, at::Tensor const& cells, std::uint64_t draw) const;
  // Collective: the loss alone.
  double loss(Head const& head, at::Tensor const& cells, std::uint64_t draw) const;
  // Collective: `visit(c, gradients)` is given the real cells' mean gradients of one class after the other: [1, out,
  // in] a weight matrix, memory that is written again for the next class.
  using Visit = std::function<void(std::int64_t c, std::vector<at::Tensor> const& gradients)>;
  void for_each_class(Head const& head, std::uint64_t draw, Visit const& visit) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
