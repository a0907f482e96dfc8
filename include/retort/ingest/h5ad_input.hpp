// What a stranger's h5ad (anndata 0.5 to 0.13) or 10x h5 holds: its matrices, gene names and obs columns.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "retort/files/hdf5.hpp"
#include "retort/ingest/number_array.hpp"

namespace retort {

// A data set, or one field of a table of records (as anndata before 0.7 wrote its tables).
struct Place {
  std::string path, field;
};

// A matrix that may hold counts.
struct InputLayer {
  std::string name;  // X, raw/X, layers/NAME, or matrix (10x)
  std::string path;  // of the data set or group in the file
  bool raw = false;  // its genes are those of raw/var
};

// Format: anndata docs/fileformat-prose.md; pandas tables of records with codes in uns before 0.7, __categories before
// 0.8. Members throw Failure(bad_input). Not collective.
class H5adInput {
 public:
  explicit H5adInput(std::filesystem::path const& path);

  Hdf5File const& file() const { return file_; }
  FileDescriptor const& descriptor() const { return descriptor_; }
  std::string const& name() const { return name_; }
  std::int64_t cells() const { return cells_; }

  // Those of X, raw/X and layers/counts that there are: where whole counts are looked for, in this order.
  std::vector<InputLayer> likely_layers() const;
  // The layer that a user named.
  InputLayer layer(std::string const& name) const;

  // One name a gene of the layer; `column` empty means the index of var, else a column of var (of 10x: features/NAME).
  std::vector<std::string> gene_names(InputLayer const& layer, std::string const& column) const;

  // How a column of obs is stored.
  enum class Kind { categorical, coded_records, strings, integers, booleans, other };
  struct Column {
    std::string name;
    Kind kind = Kind::other;
    Place values;      // codes, or the values themselves
    Place categories;  // of the categorical ones
    std::string mask;  // data set of the nullable ones: true where missing
  };
  // The columns of obs, in their order.
  std::vector<Column> const& columns() const { return columns_; }
  // Null where there is no such column.
  Column const* column(std::string const& name) const;

 private:
  std::vector<Column> columns_of(std::string const& table) const;
  Column column_at(std::string const& table, std::string const& name) const;
  // Where a table's index lies.
  Column index_of(std::string const& table) const;
  std::vector<std::string> texts(Column const& column) const;
  std::int64_t rows_of(Column const& column) const;
  bool there(std::string const& path) const;
  bool is_dataset(std::string const& path) const { return file_.kind(path) == Hdf5Kind::dataset; }
  bool is_group(std::string const& path) const { return file_.kind(path) == Hdf5Kind::group; }
  // Names of the fields of a table of records; empty for any other object.
  std::vector<std::string> fields_of(std::string const& table) const;

  std::string name_;
  Hdf5File file_;
  FileDescriptor descriptor_;
  bool is_10x_ = false;
  std::int64_t cells_ = 0;
  std::vector<Column> columns_;
};

// A column of labels over all cells of a file: categories[codes[i]], or -1 where it is missing.
struct CodedColumn {
  std::vector<std::string> categories;
  std::vector<std::int32_t> codes;  // [cells]
};

// Reads a column of `rows` rows, integers and booleans as texts too. Empty texts count as missing. Throws
// Failure(bad_input) that names the row where a code is out of range, or another number of rows.
CodedColumn read_column(H5adInput const& input, H5adInput::Column const& column, std::int64_t rows);

}  // namespace retort
