// What retort-train-diffusion trains: a network, the cells of this rank's shards, and the loss of shards at a step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "retort/layers/parameters.hpp"
#include "retort/layers/precision.hpp"

namespace retort {

// Noised cells of some shards, one shard's rows after the other, and what the network is to say of them.
struct NoisyCells {
  at::Tensor values, times, labels;  // [rows, ...], [rows], and labels where the network hears of any
  at::Tensor target;                 // like values
};

class DiffusionTask {
 public:
  virtual ~DiffusionTask() = default;
  // In order of use.
  virtual std::vector<at::Tensor> parameters() const = 0;
  // Whether the network's layers take all shards of a block of the GradientArena at once (begin_block()).
  virtual bool takes_blocks() const { return false; }
  // `cells` of each of the shards first .. first + shards - 1 of this rank (one shard where takes_blocks() is false): a
  // function of (seed, step, shard). Cells are drawn with replacement.
  virtual NoisyCells draw(std::int64_t step, int first, int shards, std::int64_t cells) const = 0;
  // What the network says of the cells, like target, differentiable. `shards`: whose they are, of a block that
  // begin_block() opened; 0 where it takes none.
  virtual at::Tensor predict(NoisyCells const& cells, int shards) const = 0;
  // Publishes the generator's folder. Not collective: one rank calls it. Throws Failure(cannot_write).
  virtual void save(std::filesystem::path const& folder) const = 0;
  // "11 classes, 128 latents", for people.
  virtual std::string description() const = 0;

  // The sum over the shards of each one's mean squared error, `shards` as in predict(); it must be 0 in bfloat16.
  at::Tensor loss(NoisyCells const& cells, int shards, Precision precision = Precision::float32) const;
};

}  // namespace retort
