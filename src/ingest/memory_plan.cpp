#include "retort/ingest/memory_plan.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "retort/run/error.hpp"
#include "retort/run/progress.hpp"

namespace retort {

namespace {

// For a cell: its label, whether it is kept, its part, its place in the atlas and a column of obs being read.
constexpr std::int64_t bytes_per_cell = 40;
// For an entry on its way: raw index and value (16), checked (8), packed (8), message sent (8) and received (8).
constexpr std::int64_t bytes_per_entry = 48;

}  // namespace

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

MemoryPlan plan_memory(std::int64_t limit, std::int64_t cells, std::int64_t expected, bool any_csc) {
  MemoryPlan plan;
  plan.limit = limit;
  plan.fixed = resident_bytes() + cells * bytes_per_cell;
  constexpr std::int64_t least = std::int64_t{24} << 20;
  std::int64_t const free = limit - plan.fixed;
  if (free < least)
    fail(ExitCode::usage,
         "cells.memory_limit is {} bytes (the program and the lists of {} cells take {}). Set it to {} MB or more",
         with_commas(limit), with_commas(cells), with_commas(plan.fixed), (plan.fixed + least) / 1'000'000 + 1);
  std::int64_t const piece = std::clamp<std::int64_t>(free / 6, 4 << 20, 8 << 20);
  plan.piece_entries = piece / bytes_per_entry;
  plan.csc_window = any_csc ? std::max(free / 4, plan.piece_entries * 16) : 0;
  std::int64_t const rest = free - piece - plan.csc_window;
  // Each window of waiting rows is another pass over the files, so they come first.
  plan.waiting = std::max<std::int64_t>(1 << 20, std::min(expected, rest * 2 / 3));
  plan.kept = std::max<std::int64_t>(0, rest - plan.waiting - (rest / 8));
  return plan;
}

}  // namespace retort
