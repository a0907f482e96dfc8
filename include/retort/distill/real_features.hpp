// The features of the real cells that distillation matches: each rank the rows of its virtual shards, sorted by class.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {

// Fit rows of every class, in atlas order.
// Throws Failure(bad_input) that names a class without fit cells: nothing could stand for it.
std::vector<std::vector<std::int64_t>> fit_rows_by_class(Labels const& labels, std::vector<Part> const& parts);

// Draws `taken` of `rows` without replacement to the front (a partial shuffle).
void draw_to_front(std::vector<std::int64_t>& rows, std::size_t taken, Random& random);

class RealFeatures {
 public:
  // Features [rows.size(), width] of any rows.
  using Read = std::function<at::Tensor(std::span<std::int64_t const> rows)>;
  // The fit rows of each class are cut into plan.shards() slices; this rank reads the slices of its shards. Features
  // are multiplied by `scale`. Not collective; call it inside Communicator::together.
  RealFeatures(Read const& read, std::int64_t width, std::vector<std::vector<std::int64_t>> const& rows_by_class,
               ShardPlan const& plan, double scale = 1);

  std::int64_t classes() const { return static_cast<std::int64_t>(counts_.size()); }
  std::int64_t width() const { return width_; }
  // Fit cells of each class, over all ranks.
  std::vector<std::int64_t> const& counts() const { return counts_; }

  // One slice: rows sorted by class, with a last column of ones, so that a head's bias is one more weight.
  struct Slice {
    at::Tensor values;                      // [rows, width + 1]
    std::vector<std::int64_t> class_begin;  // [classes + 1]
  };
  // Shard `shard` of this rank, plan.begin() <= shard < plan.end().
  Slice const& slice(int shard) const { return slices_[index(shard - first_shard_)]; }

 private:
  std::vector<std::int64_t> counts_;
  std::int64_t width_;
  int first_shard_;
  std::vector<Slice> slices_;
};

// Collective: mean features of the classes, [classes, width] float32, summed over shards in double in one fixed order;
// divided by the scale they were read with.
at::Tensor class_means(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, double scale = 1);

}  // namespace retort
