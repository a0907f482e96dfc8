// Who works on what: contiguous shares of rows, and virtual shards of a batch.
#pragma once

#include <cstdint>

namespace retort {

// A half-open range of rows, [begin, end).
struct RowRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

// Part `part` of `parts` contiguous shares of `rows`; sizes differ by one block at most. Shares begin at multiples of
// `block`, so that work done block by block is cut the same way on any number of ranks. Empty where parts > blocks.
RowRange share_of(std::int64_t rows, int part, int parts, std::int64_t block = 1);

// The virtual shards of a global batch: a batch is cut into `shards` (a power of two), whatever the rank count, and
// BatchNorm, triplets, noise and the order of sums belong to a shard. Ranks share the shards out contiguously; ranks
// past the last shard have none.
class ShardPlan {
 public:
  // `asked` 0 means the default: 4, or the next power of two above the rank count. Throws Failure(usage) when it is not
  // a power of two.
  ShardPlan(std::int64_t asked, int rank, int ranks);

  int shards() const { return shards_; }
  int begin() const { return begin_of(rank_); }
  int end() const { return begin_of(rank_ + 1); }
  int begin_of(int rank) const;
  int ranks() const { return ranks_; }

 private:
  int shards_, rank_, ranks_;
};

}  // namespace retort
