// Small sets that cost no distillation: what a distilled set has to beat.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "retort/cells/csr_block.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// Train rows (fit and held out) of an atlas by class, in atlas order; a class may be empty and then has no part in a
// set.
using RowsByClass = std::vector<std::vector<std::int64_t>>;

// Rows of an atlas that stand for the classes, class by class.
struct ChosenRows {
  std::vector<std::int64_t> rows;
  std::vector<std::int64_t> labels;  // the class of each
};

// `spc` rows a class drawn by (seed, draw, class) alone, each once where the class has as many, else some again
// (methods 1.4.1). Not collective.
ChosenRows random_rows(RowsByClass const& train, std::int64_t spc, std::uint64_t seed, std::uint64_t draw);

// The row of each class whose features are nearest the class's mean features; features [cells, width] of the whole
// atlas. Not collective.
ChosenRows medoid_rows(RowsByClass const& train, at::Tensor const& features);

// k-means of the features a class, with `spc` centroids.
struct ClusteredRows {
  ChosenRows nearest;                      // the real cells nearest the centroids
  std::vector<std::int64_t> groups;        // [cells]: which row of `nearest` stands for a cell; -1 outside train
  std::vector<std::int64_t> group_of_row;  // [rows of nearest]: the group that a row stands for
};
// Collective: classes are shared out over ranks, and the result is a function of (features, seed) alone. A class of
// fewer than spc cells has as many groups as cells, and its rows repeat them in turn.
ClusteredRows kmeans_rows(Communicator const& ranks, RowsByClass const& train, at::Tensor const& features,
                          std::int64_t spc, std::uint64_t seed);

// Reads log-normalised rows [begin, end).
using ReadRows = std::function<CsrBlock(RowRange)>;

// Collective: the mean of the log-normalised cells of each group, rescaled so that expm1 of a row sums to 1e4, as of a
// cell; [count, genes] float32 on all ranks. `groups` [cells] is the group of each row of the atlas, -1 for none. Sums
// are in double and in the tree over shards. A group without cells stays zero.
at::Tensor group_means(Communicator const& ranks, ShardPlan const& plan, ReadRows const& read,
                       std::span<std::int64_t const> groups, std::int64_t count, std::int64_t genes);

// The rows as they are, dense; [rows.size(), genes]. Not collective.
at::Tensor dense_rows(ReadRows const& read, std::span<std::int64_t const> rows, std::int64_t genes);

}  // namespace retort
