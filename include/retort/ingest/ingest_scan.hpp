// The first pass of an ingest over all its files, and what it decides: layers, genes, which cells stay.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "retort/cells/gene_vocabulary.hpp"
#include "retort/ingest/ingest_source.hpp"
#include "retort/ingest/memory_plan.hpp"
#include "retort/ingest/row_scan.hpp"

namespace retort {

struct ScannedSources {
  GeneVocabulary vocabulary;
  std::vector<std::unique_ptr<RowScan>> scans;  // one a file
  ValueKind kind = ValueKind::counts;
  std::vector<std::int64_t> gene_cells;  // [vocabulary]: kept cells that have the gene
  std::vector<std::uint8_t> kept;        // [cells of all files], on every rank
  std::int64_t too_few = 0;              // cells dropped for their counts
  std::uint32_t largest = 0;             // count
  std::vector<std::int32_t> gene_to;     // [vocabulary]: gene of the atlas, or -1
  std::vector<std::string> genes;        // of the atlas
  std::int64_t entries = 0;              // non-zeros of the atlas
};

// Collective. `wanted[i]` is 0 for cells (of all files) that are dropped whatever they hold; `tick` is told how many
// rows this rank has read. Throws Failure(bad_input): a value that no layer may hold, files of which one holds counts
// and another does not, zero genes in common, no cell or gene left.
ScannedSources scan_sources(Communicator const& ranks, std::vector<IngestSource>& sources, IngestOptions const& options,
                            std::vector<std::uint8_t> const& wanted, MemoryPlan const& plan,
                            std::function<void(std::int64_t)> const& tick);

}  // namespace retort
