// The sections [ingest] and [cells] of the settings.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "retort/run/option_table.hpp"

namespace retort {

// Section [cells]: how cells pass through memory; never what comes out.
struct CellsOptions {
  std::string memory_limit = "2GB";
};

// Section [ingest].
struct IngestOptions {
  std::vector<std::string> input;
  std::vector<std::string> label;
  std::string layer = "auto";
  std::string vocabulary;
  std::string genes = "intersection";
  std::string gene_column;
  std::int64_t min_counts = 10;
  std::int64_t min_cells = 3;
  double test_fraction = 0.3;
  double held_out_fraction = 0.2;
  std::string compression = "none";
};

void add_cells_options(OptionTable& table, CellsOptions& options);
void add_ingest_options(OptionTable& table, IngestOptions& options);
// Throws Failure(usage) that names the setting whose value cannot be.
void require_sane(IngestOptions const& options);

}  // namespace retort
