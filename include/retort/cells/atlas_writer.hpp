// Writing an atlas by all ranks at once: one h5ad, every byte by one writer, the same bytes on any number of ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "retort/cells/atlas.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// What must be known of the matrix before its first row is written.
struct AtlasForm {
  std::int64_t cells = 0, genes = 0;  // of the whole atlas
  bool whole = true;                  // values are whole numbers; else float32
  std::uint32_t largest = 0;  // whole value of this rank's rows; the largest of all decides between uint8, 16 and 32
  int gzip = 0;               // level; 0: contiguous, as ranks read it fastest
  bool plain = false;         // float32 values and int32 genes, as other people's files are
};

// What is said of this rank's rows, one value a row.
struct AtlasRows {
  std::vector<std::string> names;         // empty: the row numbers
  std::vector<std::int64_t> source_rows;  // empty: no such column
  std::vector<Part> parts;                // empty: no such columns (split, held_out)
  struct Column {
    std::string name;
    std::vector<std::string> categories;  // of the whole atlas, the same on every rank
    std::vector<std::int32_t> codes;      // -1: none
  };
  std::vector<Column> columns;
};

struct AtlasGenes {
  std::vector<std::string> names;
  struct Column {
    std::string name;
    std::vector<double> values;
    bool is_flag = false;  // written as booleans: value != 0
  };
  std::vector<Column> columns;
};

// Becomes uns/retort, with the vocabulary's hash; of a plain file only `details` is written, as uns.
struct AtlasNotes {
  bool holds_counts = true;
  std::string label;  // the column that Atlas::labels() means; may be empty
  std::int64_t shuffle_seed = 0;
  nlohmann::json details = nlohmann::json::object();
};

// Numbers are created through a parallel open of HDF5 and written by the ranks at their data sets' offsets; HDF5 1.10
// cannot write text in parallel, so rank 0 adds it afterwards. Nothing is seen under `file` before finish() returns.
class AtlasWriter {
 public:
  // Collective. `rows` is this rank's share (shares follow each other in rank order and cover all cells);
  // `row_nonzeros` counts the values of each of its rows. Throws Failure(cannot_write).
  AtlasWriter(Communicator const& ranks, std::filesystem::path file, AtlasForm const& form, RowRange rows,
              std::span<std::int64_t const> row_nonzeros);
  ~AtlasWriter();

  // The next values of this rank's rows, in row order; any number a call. `genes` rise within a row; a value is a whole
  // number, or the bits of a float32 where the form is not whole. Not collective. Throws Failure(cannot_write).
  void append(std::span<std::uint32_t const> genes, std::span<std::uint32_t const> values);

  // Collective: adds the rest and gives the file its name. `genes` and `notes` must be the same on every rank.
  void finish(AtlasRows const& rows, AtlasGenes const& genes, AtlasNotes const& notes);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
