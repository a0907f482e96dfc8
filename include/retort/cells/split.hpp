// Which cells train, which choose and which test, and in what order the atlas holds them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "retort/cells/atlas.hpp"

namespace retort {

struct SplitFractions {
  double test = 0.3;      // of a class (scDD section IV-C: train : test 0.7 : 0.3)
  double held_out = 0.2;  // of what remains of the class for training
};

// One part a cell, stratified by class: `classes[i]` in [0, class_count) is the class of cell i. A class of n cells
// gives round(n * test) to test, at least one and at most n - 1; a class of one cell stays in fit. Of its remaining
// cells it gives the held-out part by the same rule. Draws are keyed by (seed, purpose, class) and the cells' order
// alone, so they are the same on any number of ranks. Not collective.
std::vector<Part> stratified_split(std::vector<std::int32_t> const& classes, std::int64_t class_count,
                                   SplitFractions const& fractions, std::uint64_t seed);

// The global shuffle: element p is the cell that lies at row p of the atlas. Not collective; same on all ranks.
std::vector<std::int64_t> shuffled_order(std::int64_t cells, std::uint64_t seed);

}  // namespace retort
