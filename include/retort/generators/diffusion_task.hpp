// What retort-train-diffusion trains: a network, the cells of this rank's shards, and the loss of a shard at a step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "retort/layers/parameters.hpp"

namespace retort {

class DiffusionTask {
 public:
  virtual ~DiffusionTask() = default;
  // In order of use.
  virtual std::vector<at::Tensor> parameters() const = 0;
  // Whether the network's layers take all shards of a block of the GradientArena at once (begin_block()).
  virtual bool takes_blocks() const { return false; }
  // The sum over shards first .. first + shards - 1 of this rank, one where takes_blocks() is false, of each shard's mean over `cells` cells, differentiable. What is
  // drawn is a function of (seed, step, shard).
  virtual at::Tensor loss(std::int64_t step, int first, int shards, std::int64_t cells) = 0;
  // Publishes the generator's folder. Not collective: one rank calls it. Throws Failure(cannot_write).
  virtual void save(std::filesystem::path const& folder) const = 0;
  // "11 classes, 128 latents", for people.
  virtual std::string description() const = 0;
};

}  // namespace retort
