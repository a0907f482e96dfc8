// The triplet loss that keeps cells of one label together (SCimilarity; methods 1.2.4), over one shard of a batch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

#include "retort/run/random.hpp"

namespace retort {

// batch_hard: for each anchor its farthest positive and nearest negative, mean over anchors that have both (Hermans et
// al. 2017). semi_hard: for each pair of one label, in both orders, one negative drawn uniformly among those with
// 0 < squared distance to positive - squared distance to negative + margin < margin, mean over pairs that have one
// (SCimilarity). all: mean over the triplets whose loss is above zero.
enum class Mining { batch_hard, semi_hard, all };

// Throws Failure(usage) for an unknown name.
Mining parse_mining(std::string const& name);

struct TripletLoss {
  at::Tensor loss;  // float32 scalar: mean of max(0, d(a, p) - d(a, n) + margin); 0 where no triplet was found
  std::int64_t triplets = 0;  // that the mean is over
};

// Embeddings [n, width] float32, n labels; d is the Euclidean distance, and the loss is differentiable in the
// embeddings by a hand-written gradient (0 at distance 0). `draw` is used by semi_hard alone.
TripletLoss triplet_loss(at::Tensor const& embeddings, std::span<std::int32_t const> labels, Mining mining,
                         double margin, Random draw);

}  // namespace retort
