// Which rows a virtual shard draws its cells from.
#pragma once

#include <cstdint>
#include <span>

#include "retort/ranks/share.hpp"
#include "retort/run/index.hpp"

namespace retort {

// The shard's share of the rows, which are shuffled, so that a share is a sample; all of them where there are fewer
// than shards.
inline std::span<std::int64_t const> rows_of_shard(std::span<std::int64_t const> rows, int shard, int shards) {
  if (std::ssize(rows) < shards) return rows;
  RowRange const share = share_of(std::ssize(rows), shard, shards);
  return rows.subspan(index(share.begin), index(share.size()));
}

}  // namespace retort
