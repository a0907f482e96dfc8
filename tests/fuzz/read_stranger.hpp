// All that ingest reads of a stranger's file, in one call.
#pragma once

#include <filesystem>

namespace retort {

// Reads every layer, gene name, column and value. Throws Failure for what is refused; what is read is checked again:
// indices in range, rows that rise, codes of categories that there are. A violation aborts the process.
void read_stranger(std::filesystem::path const& file);

}  // namespace retort
