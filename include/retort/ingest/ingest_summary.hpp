// What an ingest read, kept and dropped: a table for people and JSON for programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "retort/cells/atlas.hpp"
#include "retort/ingest/ingest_scan.hpp"
#include "retort/ingest/ingest_source.hpp"

namespace retort {

struct IngestSummary {
  std::int64_t cells_read = 0, without_label = 0, too_few = 0, cells = 0;
  std::int64_t genes_read = 0, genes_registered = 0, genes = 0;
  std::int64_t nonzeros = 0;
  std::string value_type, index_type;
  int value_bytes = 0, index_bytes = 0;
  ValueKind kind = ValueKind::counts;
  bool fixed_vocabulary = false;
  std::string label, labels;  // the first, and all as people read them
  std::vector<std::string> classes;
  std::vector<std::vector<std::int64_t>> cells_of;  // [classes][fit, held out, test]
  struct File {
    std::string name, layer, storage, remark;
    std::int64_t cells = 0, genes = 0, duplicates = 0, unregistered = 0;
  };
  std::vector<File> files;

  std::string table() const;
  nlohmann::json json() const;
};

// Fills in what the files and the first pass say.
IngestSummary summarise(std::vector<IngestSource> const& sources, ScannedSources const& scanned,
                        IngestOptions const& options);

}  // namespace retort
