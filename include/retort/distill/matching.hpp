// What a synthetic set is matched with. A matching is chosen once per kind of set, and the loop asks every one the
// same:
//
//   matching->prepare(step, made);                                          // what the real cells give this step
//   set.step([&](auto& chunk, auto& features) { return matching->match(chunk, features); }, rate);
//   matching->learn(step, set);                                             // a head goes on from the set that moved
//   matching->loss(features, cells);                                        // what states of a set are compared by
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "retort/distill/options.hpp"
#include "retort/distill/real_side.hpp"
#include "retort/distill/synthetic_set.hpp"

namespace retort {

// A step of the optimisation of one set; heads and samples of real cells are drawn by its two numbers.
struct MatchingStep {
  std::int64_t draw = 0, iteration = 0;
};

class Matching {
 public:
  virtual ~Matching() = default;

  // Whether prepare() wants the features of the whole set before the step, and its cells; loss() wants the same cells.
  virtual bool sees_set() const { return false; }
  virtual bool sees_cells() const { return false; }

  // Collective: forms what this step compares the set with. `made`: the set as it is, where it is asked for.
  virtual void prepare(MatchingStep step, SyntheticSet::Forward const& made) = 0;
  // Features [rows of the chunk, width] -> the loss per class and its derivatives. Not collective: prepare() has summed
  // over ranks.
  virtual FeatureMatch match(Chunk const& chunk, at::Tensor const& features) const = 0;
  // Collective: after the step.
  virtual void learn(MatchingStep, SyntheticSet const&) {}
  // Collective: the loss of a whole set, features [n, width] and cells [n, genes] sorted by class, the same on all
  // ranks, against heads that are always the same.
  virtual double loss(at::Tensor const& features, at::Tensor const& cells) const = 0;

  // What goes on from step to step, by names that no other part of a checkpoint has; restore() takes its own of all.
  virtual std::map<std::string, at::Tensor> state() const { return {}; }
  virtual void restore(std::map<std::string, at::Tensor> const&) {}
};

// The matching of a kind of set, with `spc` cells per class. Keeps a reference to `real`, which was told of its parts.
// A new matching is a part in matching_parts(), a class in matching.cpp and a line here.
std::unique_ptr<Matching> choose_matching(MatchingParts const& parts, RealSide const& real,
                                          DistillOptions const& options, HeadOptions const& head, std::int64_t spc);

}  // namespace retort
