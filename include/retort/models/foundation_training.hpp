// What a block of virtual shards of a batch contributes to a training step of the foundation model (methods 1.2.4).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/cells/batch_stream.hpp"
#include "retort/layers/triplet_loss.hpp"
#include "retort/models/foundation.hpp"

namespace retort {

struct FoundationLoss {
  double triplet_weight = 0.01;  // the reconstruction's is 1 - this
  double margin = 0.2;
  Mining mining = Mining::batch_hard;
  double input_dropout = 0.2;
  double dropout = 0.2;
};

// Throws Failure(usage) when a rate of dropout is outside [0, 0.99], the weight outside [0, 1] or the margin negative.
void require_sane(FoundationLoss const& loss);

// The statistics that ride along with a shard's gradient; sums over shards, so divide by their number.
struct StepStatistics {
  double loss = 0, reconstruction = 0, triplet = 0, triplets = 0;
};

// The forward pass in training mode. BatchNorm uses each shard's own mean and variance and leaves them in the
// statistics, so that running statistics are updated once a step from the tree's sums and are the same on every rank.
class FoundationTraining {
 public:
  FoundationTraining(Foundation& model, FoundationLoss const& loss);

  // How many floats a shard leaves.
  std::int64_t statistics() const;

  // The sum over a block's shards of (1 - w) sparse_mse + w triplet, a differentiable scalar; the shards' statistics
  // are added to `statistics`. Dropout masks and drawn triplets are functions of (seed, step, shard). Where the model's
  // parameters have a .grad, as GradientArena::begin_block leaves it, matrices' gradients are written to it by the
  // layers' own backward. 2^k shards of equally many cells, at least two (BatchNorm).
  at::Tensor block_loss(ShardBatch const& block, std::uint64_t seed, std::int64_t step, at::Tensor const& statistics);

  // After the step: running statistics move by BatchNorm's momentum towards the mean over shards of `summed` (PyTorch's
  // rule, with the unbiased variance), on every rank by the same bits. Returns the means of the losses.
  StepStatistics update_running(at::Tensor const& summed, int shards);

 private:
  Foundation& model_;
  FoundationLoss loss_;
};

// The block with each non-zero kept with probability 1 - rate and scaled by 1 / (1 - rate): what Dropout does to a
// dense input, as zeros stay zeros. The rate is rounded to a multiple of 1 / 65536. The rows are equally many of each
// shard, one after the other; `draws` has the random numbers of each.
CsrBlock drop_nonzeros(CsrBlock const& cells, double rate, std::vector<Random> draws);

}  // namespace retort
