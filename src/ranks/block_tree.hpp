// The fixed binary tree over shards, down to the blocks whose sums lie somewhere in memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

// A vector of which elements [origin, ...) are held.
template <class Value>
struct HeldBlock {
  ShardBlock shards;
  Value const* values = nullptr;
  std::int64_t origin = 0;
};

template <class Value>
class BlockTree {
 public:
  // The sum over `shards`, of the blocks `held`, which must tile it by whole nodes of the tree. The memory must stay.
  BlockTree(ShardBlock shards, std::vector<HeldBlock<Value>> const& held) { build(shards, held, 0); }

  // The held block, when the sum is one of them already.
  HeldBlock<Value> const* single() const { return nodes_.size() == 1 ? &nodes_[0].block : nullptr; }

  // out = elements [from, from + count) of the sum.
  void sum(std::int64_t from, std::int64_t count, Value* out) {
    for (std::int64_t at = 0; at < count; at += piece) {
      std::int64_t const now = std::min(piece, count - at);
      Value const* const values = sum_of(0, from + at, now, out + at, 0);
      if (values != out + at) std::memcpy(out + at, values, index(now) * sizeof(Value));
    }
  }

 private:
  static constexpr std::int64_t piece = 4096;  // stays in the first-level cache while the tree walks over it

  struct Node {
    HeldBlock<Value> block;  // values are null where the node has children:
    std::size_t right = 0;   // the left one is the next node
  };

  void build(ShardBlock shards, std::vector<HeldBlock<Value>> const& held, std::size_t depth) {
    std::size_t const here = nodes_.size();
    nodes_.emplace_back();
    auto const found = std::find_if(held.begin(), held.end(), [&](auto const& one) {
      return one.shards.begin == shards.begin && one.shards.width == shards.width;
    });
    if (found != held.end()) {
      nodes_[here].block = *found;
      return;
    }
    if (shards.width == 1) fail(ExitCode::failed, "no rank holds the sum of shard {}", shards.begin);
    if (scratch_.size() == depth) scratch_.emplace_back(piece);
    int const half = shards.width / 2;
    build({shards.begin, half}, held, depth + 1);
    nodes_[here].right = nodes_.size();
    build({shards.begin + half, half}, held, depth + 1);
  }

  // A node's sum of those elements: where it is held, or in `out`.
  Value const* sum_of(std::size_t node, std::int64_t from, std::int64_t count, Value* out, std::size_t depth) {
    if (HeldBlock<Value> const& block = nodes_[node].block; block.values) return block.values + (from - block.origin);
    Value const* const left = sum_of(node + 1, from, count, out, depth + 1);
    Value const* const right = sum_of(nodes_[node].right, from, count, scratch_[depth].data(), depth + 1);
    for (std::int64_t i = 0; i < count; ++i) out[i] = left[i] + right[i];
    return out;
  }

  std::vector<Node> nodes_;
  std::vector<std::vector<Value>> scratch_;  // [depth][piece]: sums of right children
};

}  // namespace retort
