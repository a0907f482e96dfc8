// How the memory of a rank is shared out between what is on its way, what waits and what is kept.
#pragma once

#include <cstdint>

namespace retort {

// Bytes that this process holds in memory now (its resident set).
std::int64_t resident_bytes();

struct MemoryPlan {
  std::int64_t limit = 0;          // cells.memory_limit
  std::int64_t fixed = 0;          // the program itself, and what it keeps for every cell of the atlas
  std::int64_t piece_entries = 0;  // entries of a matrix read, checked, packed and sent at a time
  std::int64_t csc_window = 0;     // bytes of a CSC matrix's rows turned at a time; 0 without one
  std::int64_t waiting = 0;        // bytes of rows that have arrived and wait to be written
  std::int64_t kept = 0;           // bytes of rows kept between the first pass and the second
};

// `cells`: of all files. `expected`: bytes of packed rows that a rank will write, at most. Throws Failure(usage) where
// the limit leaves nothing to work with, naming what is needed.
MemoryPlan plan_memory(std::int64_t limit, std::int64_t cells, std::int64_t expected, bool any_csc);

}  // namespace retort
