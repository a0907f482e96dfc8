#include "retort/ranks/share.hpp"

#include <bit>

#include "retort/run/error.hpp"

namespace retort {

RowRange share_of(std::int64_t rows, int part, int parts, std::int64_t block) {
  std::int64_t const blocks = (rows + block - 1) / block;
  auto const bound = [&](int p) {
    // 128 bits: blocks * parts may pass 2^63 for absurd inputs, and must not wrap.
    auto const blocks_before = static_cast<std::int64_t>(static_cast<__int128>(blocks) * p / parts);
    return std::min(rows, blocks_before * block);
  };
  return {bound(part), bound(part + 1)};
}

ShardPlan::ShardPlan(std::int64_t asked, int rank, int ranks) : rank_(rank), ranks_(ranks) {
  std::int64_t const shards =
      asked ? asked : std::max<std::int64_t>(4, std::int64_t{std::bit_ceil(static_cast<unsigned>(ranks))});
  if (shards < 1 || shards > 65536 || !std::has_single_bit(static_cast<std::uint64_t>(shards))) {
    fail(ExitCode::usage,
         "run.shards is {} (sums over shards form a binary tree). Set it to a power of two, or 0 for the default",
         shards);
  }
  shards_ = static_cast<int>(shards);
}

int ShardPlan::begin_of(int rank) const { return static_cast<int>(static_cast<std::int64_t>(shards_) * rank / ranks_); }

}  // namespace retort
