// Sums over virtual shards in one fixed binary tree, so their bits do not depend on the number of ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// An aligned group of shards [begin, begin + width), width a power of two: one node of the tree.
struct ShardBlock {
  int begin = 0, width = 1;
};

// The largest aligned blocks that cover shards [begin, end), left to right. A rank sums inside its own blocks and the
// ranks' blocks are joined by the rest of the tree.
std::vector<ShardBlock> shard_blocks(int begin, int end);

// Sums equally long vectors of the ranks' shard blocks. On a node the vectors lie in one shared-memory window and each
// rank sums a slice; between nodes slices of whole nodes travel, and results back. The tree is the same on any number
// of either.
template <class Value>  // float or double
class OrderedSum {
 public:
  // Collective. `length` elements; the same on all ranks. `ranks` must outlive the sum. With `ranks_a_node` a node
  // counts as several of at most so many ranks.
  OrderedSum(Communicator const& ranks, ShardPlan const& plan, std::int64_t length, int ranks_a_node = 0);
  ~OrderedSum();
  OrderedSum(OrderedSum&&) noexcept;

  // How many blocks this rank holds, and which; a rank without shards holds none.
  std::vector<ShardBlock> const& blocks() const;
  // The memory of block i of this rank, [length], 64-byte aligned: the caller leaves the sum over the block's shards in
  // it (shards of one block must be added in tree order; see ShardTree).
  std::span<Value> block(std::size_t i);
  // Collective: the sum over all shards, [length]; valid until a block is written again, which it may lie in.
  std::span<Value const> sum();

 private:
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

// Adds the shards of one block in tree order when whole vectors are produced one after the other: a binary counter.
template <class Value>
class ShardTree {
 public:
  explicit ShardTree(std::int64_t length) : length_(length) {}
  // The next shard's vector, [length].
  void add(std::span<Value const> shard);
  // The sum of the 2^k shards added; throws Failure(failed) when their number is not a power of two. Empties the tree.
  void take(std::span<Value> out);

 private:
  std::int64_t length_;
  std::vector<std::vector<Value>> levels_;
  std::vector<bool> full_;
};

// Collective: the sum over shards of one small vector a shard; `shard(s)` gives shard s's vector, [length].
template <class Value>
std::vector<Value> ordered_sum(Communicator const& ranks, ShardPlan const& plan, std::int64_t length,
                               std::function<std::vector<Value>(int)> const& shard);

}  // namespace retort
