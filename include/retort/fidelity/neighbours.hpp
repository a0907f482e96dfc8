// Nearest neighbours between real and generated cells: can they be told apart, do they cover each other.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace retort {

struct NeighbourAccuracy {
  double overall = 0, of_real = 0, of_generated = 0;
};

// Leave-one-out accuracy of the 1-nearest-neighbour classifier (L2) that tells real from generated cells (Lopez-Paz and
// Oquab 2017; methods 3.7): 0.5 where the sets are alike, 1 where they lie apart, 0 where each cell has a copy in the
// other set. Of several nearest cells at exactly the same distance their share of the own set counts, so the order of
// the cells does not matter: sets that are one cell many times give (n - 1) / (2 n - 1). real [n, width], generated [m,
// width]; one cell of each is enough. Exact, in blocks of rows. Not collective. Throws Failure(bad_input): other types,
// different widths, a value that is not finite.
NeighbourAccuracy nearest_neighbour_accuracy(at::Tensor const& real, at::Tensor const& generated);

// What a ball around a cell is: its norm, and whether its border belongs to it (copies of a cell have balls of radius
// 0).
enum class Balls {
  closed_l2,  // Kynkaanniemi et al. 2019
  open_l1,    // CFGen's evaluator (after Naeem et al. 2020)
};

struct Overlap {
  double precision = 0;  // share of the generated cells that lie in a real cell's ball
  double recall = 0;     // share of the real cells that lie in a generated cell's ball
};

// The ball of a cell reaches to its k-th nearest other cell of the own set. Both sets need more than k cells.
// Exact, in blocks of rows. Not collective. Throws Failure(bad_input) like nearest_neighbour_accuracy, and at k cells
// or fewer.
Overlap precision_and_recall(at::Tensor const& real, at::Tensor const& generated, std::int64_t k = 3,
                             Balls balls = Balls::closed_l2);

}  // namespace retort
