// Weights and gradients of a model as flat arrays, summed over the virtual shards of a batch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "retort/ranks/communicator.hpp"
#include "retort/ranks/ordered_sum.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// Every parameter becomes a view of one flat float32 array of weights, and its .grad a view of one of gradients; pieces
// are padded to 64 bytes. Each parameter must be used once a backward, or a block's sum loses its tree order.
//
// A step, for each rank:
//   for (int shard = arena.first_shard(); shard < arena.end_shard(); ++shard) {
//     arena.begin_shard(shard);
//     (loss / shards).backward();            // accumulates into the shard's block of the tree
//     arena.statistics().add_(...);          // BatchNorm's batch statistics, the loss: they ride along
//   }
//   auto gradient = arena.sum();             // Collective: [length], bit-equal on any number of ranks up to `shards`
//
// or, with layers that take all shards of a block at once and add them in the tree's order themselves
// (kernels/shard_linear.hpp):
//   for (std::size_t b = 0; b < arena.blocks().size(); ++b) {
//     arena.begin_block(b);
//     ...
//   }
//
// Never call zero_grad (view gradients would be dropped); `backward(create_graph)` leaves the arena: use
// autograd::grad. On a GPU the blocks are device memory and the sum is NCCL's: equal on every rank and every rerun, not
// across counts.
class GradientArena {
 public:
  // Collective. `parameters` are made views in place and must require gradients; `statistics` is how many floats ride
  // along. All on one device.
  GradientArena(Communicator const& ranks, ShardPlan const& plan, std::vector<at::Tensor> parameters,
                std::int64_t statistics);
  ~GradientArena();

  int first_shard() const;
  int end_shard() const;
  // Points every .grad at the block that holds `shard` and clears the block when the shard is its first.
  void begin_shard(int shard);
  // This rank's blocks of shards; one where it has 2^k shards.
  std::vector<ShardBlock> const& blocks() const;
  // Points every .grad at block b. The statistics and the gradients of vectors are cleared, to be added to; on the CPU
  // gradients of matrices are not: the layers must write all of them. Until then their first number is not finite, so
  // that a gradient that nobody wrote stops the run.
  void begin_block(std::size_t b);
  // The current shard's or block's statistics, [statistics]: add to it, the block's shards accumulate.
  at::Tensor statistics();
  // Collective: flat gradient, [length]; summed_statistics() is its tail. Valid until the next begin_shard. It lies in
  // memory that the ranks of a node share: read it, never change it in place.
  at::Tensor sum();
  // [statistics], summed over shards by the last sum().
  at::Tensor summed_statistics() const;
  // Whether what this rank's shards gave to the last sum(), gradients and statistics, was finite. Not collective.
  bool own_is_finite() const;

  // Collective, once after each sum(): the Euclidean norm of the flat gradient, the same bits on any number of ranks;
  // not finite when an element is not.
  double norm();

  // The flat weights, [length]; an optimiser's update of it is the parameters' update. On the CPU the ranks of a node
  // share the memory while the arena lives: a rank updates own_slice() of it, and fence() ends the update.
  at::Tensor weights() const;
  // Where in the flat arrays this rank updates for its node: a part on the CPU, everything on a GPU. In multiples of 64
  // bytes.
  RowRange own_slice() const;
  // That part of a flat array, a view.
  at::Tensor own_part(at::Tensor const& flat) const;
  // Collective: one more flat array, [length] of zeros, where weights are; an optimiser's moments.
  at::Tensor shared_array();
  // Collective: what any rank of the node wrote to shared arrays before is seen by all after.
  void fence() const;
  std::int64_t length() const;
  // Where parameter i lies in the flat arrays, in floats.
  std::int64_t offset(std::size_t i) const;
  // Collective: root's weights replace those of other nodes.
  void broadcast_weights();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
