// How the rows of a synthetic set are cut for the work, and which rank works on which.
#pragma once

#include <cstdint>
#include <vector>

#include "retort/ranks/share.hpp"

namespace retort {

// Whole classes that are optimised together: the losses of distillation couple the rows of a class and no others.
struct Chunk {
  std::int64_t first_class = 0, classes = 0;
  RowRange rows;                 // of the set; spc rows a class, sorted by class
  std::vector<RowRange> pieces;  // of the set: what goes through the networks at once, at most chunk_cells rows
  int owner = 0;                 // rank
};

// Chunks of whole classes up to `chunk_cells` rows; a class with more rows is a chunk of its own, cut into pieces. The
// cut depends on the set alone, never on the rank count, because the bits of a product's row may depend on how many
// rows there are. Ranks own neighbouring chunks, balanced by rows.
std::vector<Chunk> plan_chunks(std::int64_t classes, std::int64_t spc, std::int64_t chunk_cells, int ranks);

}  // namespace retort
