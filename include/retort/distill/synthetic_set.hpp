// The set under distillation: codes of SPC cells a class, each rank the chunks that it owns.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "retort/distill/chunks.hpp"
#include "retort/distill/two_step.hpp"
#include "retort/distill/variant.hpp"
#include "retort/models/foundation.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

// How codes are moved. Adam has its usual 0.9, 0.999, 1e-8; element by element, so chunks do not matter.
struct CodeOptimiser {
  bool adam = true;
  double momentum = 0.5;       // of SGD
  bool stay_positive = false;  // after a step, codes below zero become zero
  bool renormalise = false;    // after a step, rows get unit length
};

class SyntheticSet {
 public:
  // `start(rows)` gives the initial codes of rows of the set, [rows.size(), width]. Keeps references to variant,
  // encoder and chunks. Not collective.
  SyntheticSet(Communicator const& ranks, Variant const& variant, Foundation& encoder, std::vector<Chunk> const& chunks,
               CodeOptimiser optimiser, std::function<at::Tensor(RowRange)> const& start);

  // Collective: features() and, where asked for, cells() of the set before a step that needs the whole of them. Graphs
  // of few cells are kept for that step, so that the networks are passed once.
  struct Forward {
    at::Tensor features, cells;
  };
  Forward forward(bool with_cells);

  // One step of this rank's chunks down the gradient of `match`. Not collective: what is matched has been summed
  // before.
  void step(ChunkMatch const& match, double rate);

  // Collective: F(G(codes)) as it is matched and of the exported cells, the cells G(codes), the codes; all rows in
  // class order, on all ranks.
  at::Tensor features() const;
  at::Tensor features_of_cells() const;  // the same but where codes are features themselves
  at::Tensor cells() const;
  at::Tensor codes() const;

  // This rank's codes, to be put back later.
  std::vector<at::Tensor> keep() const;
  void put_back(std::vector<at::Tensor> const& kept);
  // Collective: what keep() gave on each rank, as rows of the whole set in class order; and this rank's part of such
  // rows.
  at::Tensor whole(std::vector<at::Tensor> const& kept) const { return gathered(kept); }
  std::vector<at::Tensor> own_part(at::Tensor const& whole) const;

  // Collective: all that step() changes, by name, rows of the whole set in class order: what a checkpoint holds.
  // restore() takes it back on any number of ranks; it is not collective.
  std::map<std::string, at::Tensor> state() const;
  void restore(std::map<std::string, at::Tensor> const& state);

 private:
  struct Own {
    Chunk const* chunk;
    at::Tensor codes, first_moment, second_moment;
    std::optional<ChunkGraph> graph = {};  // at these codes; from forward() to the next step
  };
  void move(Own& own, at::Tensor const& gradient, double rate) const;
  at::Tensor gathered(std::vector<at::Tensor> const& of_chunks) const;

  Communicator const& ranks_;
  Variant const& variant_;
  Foundation& encoder_;
  CodeOptimiser optimiser_;
  std::vector<Own> own_;
  std::int64_t steps_ = 0, rows_ = 0;
};

}  // namespace retort
