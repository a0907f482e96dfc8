#include "retort/ingest/ingest_options.hpp"

#include "retort/cells/gene_vocabulary.hpp"
#include "retort/run/error.hpp"

namespace retort {

void add_cells_options(OptionTable& table, CellsOptions& options) {
  table.add("cells.memory_limit", options.memory_limit, "memory per rank; what does not fit passes through in pieces");
}

void add_ingest_options(OptionTable& table, IngestOptions& options) {
  table.add("ingest.input", options.input, "h5ad or 10x h5 files, separated by commas")
      .add("ingest.label", options.label,
           "obs columns with classes, separated by commas; the first decides the split, cells without one of them are "
           "dropped. Empty: no labels")
      .add("ingest.layer", options.layer,
           "auto (where whole counts are: X, raw/X or layers/counts; else log values), X, raw/X or layers/NAME")
      .add("ingest.vocabulary", options.vocabulary,
           "file with one gene symbol per line: exactly these genes, in this order. Empty: the files' genes")
      .add("ingest.genes", options.genes, "intersection or union of several files' genes")
      .add("ingest.gene_column", options.gene_column, "var column that names the genes. Empty: the index of var")
      .add("ingest.min_counts", options.min_counts, "cells with fewer counts are dropped (not asked of log values)")
      .add("ingest.min_cells", options.min_cells, "genes seen in fewer cells are dropped (not with a vocabulary)")
      .add("ingest.test_fraction", options.test_fraction, "part of each class that only tests")
      .add("ingest.held_out_fraction", options.held_out_fraction,
           "part of each class's remaining cells on which choices are made")
      .add("ingest.compression", options.compression, "none (fastest to read) or gzip");
}

void require_sane(IngestOptions const& options) {
  if (options.input.empty())
    fail(ExitCode::usage, "ingest.input is empty (it names the h5ad files). Give --ingest.input FILE[,FILE]");
  parse_gene_join(options.genes);
  if (options.compression != "none" && options.compression != "gzip")
    fail(ExitCode::usage, "ingest.compression is '{}' (known are none and gzip). Choose one of them",
         options.compression);
  if (options.layer != "auto" && options.layer != "X" && options.layer != "raw/X" &&
      (options.layer.rfind("layers/", 0) != 0 || options.layer.find('/', 7) != std::string::npos ||
       options.layer.size() == 7))
    fail(ExitCode::usage, "ingest.layer is '{}' (known are auto, X, raw/X and layers/NAME). Choose one of them",
         options.layer);
  if (options.min_counts < 0 || options.min_cells < 0)
    fail(ExitCode::usage,
         "ingest.min_counts is {} and ingest.min_cells {} (neither can be negative). Set 0 to keep all",
         options.min_counts, options.min_cells);
  for (auto const& [name, fraction] :
       {std::pair{"test_fraction", options.test_fraction}, std::pair{"held_out_fraction", options.held_out_fraction}})
    if (!(fraction >= 0 && fraction < 1))
      fail(ExitCode::usage, "ingest.{} is {} (at least 0 and below 1 is needed). Set it so", name, fraction);
}

}  // namespace retort
