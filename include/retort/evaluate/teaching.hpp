// How a student learns from cells, few or many, and what it then says of others.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "retort/evaluate/student.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

struct TeachingOptions {
  std::int64_t steps = 300, batch = 8;
  double rate = 1e-3;  // of AdamW at the first step; it falls to zero along half a cosine
  double weight_decay = 5e-5;
};

// Cells to learn from: which rows each class has (a class may have none), and the log-normalised cells of rows.
struct TeachingCells {
  std::vector<std::vector<std::int64_t>> by_class;
  std::function<CsrBlock(std::span<std::int64_t const>)> read;
};
// Of a set in memory: cells [n, genes] float32, labels int64 [n].
TeachingCells teaching_cells(at::Tensor const& cells, at::Tensor const& labels, std::int64_t classes);

// Collective. `steps` steps of AdamW on the mean cross-entropy of a batch; each of its cells is of a class drawn with
// equal chance, as if all classes were up-sampled to the largest. A batch is cut into the plan's shards (at least one
// cell each); cells and dropout are drawn from (seed, number, step, shard), so weights are bit-equal on any number of
// ranks. Throws Failure(bad_input) where no class has a cell, Failure(failed) where the loss is not finite.
void teach(Communicator const& ranks, ShardPlan const& plan, Student& student, TeachingCells const& cells,
           TeachingOptions const& options, std::uint64_t seed, std::uint64_t number);

// Cells are predicted in blocks of so many: a cell's scores are formed by products whose shape may change their last
// bits.
inline constexpr std::int64_t rows_of_a_prediction = 64;
// The class with the highest score of each cell, ties to the lower. Not collective.
std::vector<std::int64_t> predict(Student const& student, CsrBlock const& cells);

}  // namespace retort
