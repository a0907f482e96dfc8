// Brings every kept row to the rank that writes its place in the atlas.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "retort/ingest/packed_rows.hpp"
#include "retort/ingest/row_scan.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

struct ShufflePlan {
  std::int64_t rows = 0;                // of the atlas
  std::int64_t windows = 1;             // a rank's rows come and are written window by window
  int gene_bytes = 2, value_bytes = 1;  // an entry on its way
  // The rows of `rank` in the whole atlas and in a window.
  RowRange share(int rank, int ranks) const;
  RowRange share(int rank, int ranks, std::int64_t window) const;
};

// How many windows let the rows that wait on one rank take about `waiting` bytes.
ShufflePlan plan_shuffle(std::int64_t rows, std::int64_t entries, int gene_bytes, int value_bytes, std::int64_t waiting,
                         int ranks);

// One input file's part in the shuffle.
struct ShuffledSource {
  RowScan& scan;
  std::span<std::int64_t const> positions;  // place in the atlas of each row of this rank's share that stays, in order
};

// `gene_to` takes genes of the vocabulary to those of the atlas (-1: left out) and must rise.
//
// Collective: how many entries each row of this rank's share of the atlas will have.
std::vector<std::int64_t> shuffled_row_entries(Communicator const& ranks, ShufflePlan const& plan,
                                               std::vector<ShuffledSource>& sources,
                                               std::span<std::int32_t const> gene_to);

// Collective. For each window all sources pass by once, and `write` gets the rows of this rank that came; it may throw
// on one rank alone. `tick` is told how many rows this rank sent.
void shuffle_rows(Communicator const& ranks, ShufflePlan const& plan, std::vector<ShuffledSource>& sources,
                  std::span<std::int32_t const> gene_to, std::function<void(RowRange, ArrivedRows const&)> const& write,
                  std::function<void(std::int64_t)> const& tick);

}  // namespace retort
