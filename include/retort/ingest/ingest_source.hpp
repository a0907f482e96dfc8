// The input files of an ingest: opened, their layers chosen, their labels and columns joined.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "retort/ingest/count_matrix.hpp"
#include "retort/ingest/h5ad_input.hpp"
#include "retort/ingest/ingest_options.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

// A layer read as one kind of values.
struct LayerChoice {
  InputLayer layer;
  ValueKind kind = ValueKind::counts;
};

// One input file. Which layer is taken is found by trying `attempts` in turn: counts in any layer, then log values in
// any, then other numbers.
struct IngestSource {
  std::unique_ptr<H5adInput> input;
  std::int64_t first_row = 0;  // of the concatenation of all files
  std::vector<LayerChoice> attempts;
  std::size_t attempt = 0;
  std::unique_ptr<CountMatrix> matrix;  // of the current attempt
  std::vector<std::string> genes;       // of the current attempt's layer
  std::string remark;                   // why the first layer was not taken, or ""

  LayerChoice const& choice() const { return attempts[attempt]; }
};

// Collective: opens every file. Throws Failure(missing_input) or Failure(bad_input).
std::vector<IngestSource> open_sources(Communicator const& ranks, IngestOptions const& options);

// Collective: opens the matrix of the current attempt and reads its gene names.
void open_matrix(Communicator const& ranks, IngestSource& source, IngestOptions const& options,
                 std::int64_t csc_window);

// Collective: goes on to the next attempt when any rank found a fault in the current one, and says whether it did.
// Throws Failure(bad_input) with the value that the first layer must not hold, when none is left.
bool next_attempt_where_faulty(Communicator const& ranks, IngestSource& source, std::optional<ValueFault> const& fault);

// Collective: opens the matrices, trying layers until the first values of every rank's share are allowed. Throws
// Failure(bad_input) where one file holds counts and another does not.
void choose_layers(Communicator const& ranks, std::vector<IngestSource>& sources, IngestOptions const& options,
                   std::int64_t csc_window);

// A column over the cells of all files: categories in the order in which the files have them; missing (-1) in a file
// without the column. Not collective.
CodedColumn joined_column(std::vector<IngestSource> const& sources, std::string const& name);
// Throws Failure(bad_input) that lists the columns of the first file without one of the labels, or with numbers there.
void require_labels(std::vector<IngestSource> const& sources, std::vector<std::string> const& labels);
// The columns that the atlas keeps: categories and texts of any file, and the labels whatever they are.
std::vector<std::string> kept_columns(std::vector<IngestSource> const& sources, std::vector<std::string> const& labels);

}  // namespace retort
