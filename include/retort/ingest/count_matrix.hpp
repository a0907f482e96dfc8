// One matrix of a stranger's file (CSR, CSC or dense), read by rows in pieces that fit in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "retort/ingest/checked_rows.hpp"
#include "retort/ingest/h5ad_input.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// Opened by every rank for its own share of the rows; not collective. Every member throws Failure(bad_input) naming
// data set, row and value: shapes that disagree, indptr that does not begin at 0, falls or ends elsewhere than the data
// do.
class CountMatrix {
 public:
  enum class Storage { csr, csc, dense };

  // `genes` is how many names there are for its columns; `input` must outlive it. A CSC matrix is read column by column
  // once to count the entries of each row, and again for each window of `csc_window_bytes` of own rows.
  CountMatrix(H5adInput const& input, InputLayer const& layer, std::int64_t genes, int part, int parts,
              std::int64_t csc_window_bytes);

  Storage storage() const { return storage_; }
  char const* storage_name() const;
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  // Stored entries of the whole matrix (dense: rows x columns).
  std::int64_t entries() const { return entries_; }
  // The rows of this rank, of those of the file.
  RowRange share() const { return share_; }
  // Stored entries of row `row` (counted from 0 in the file) of the share.
  std::int64_t entries_of(std::int64_t row) const;
  // The end of the longest piece that begins at `begin`, lies in the share and has at most `entries` entries; at least
  // one row.
  std::int64_t piece_end(std::int64_t begin, std::int64_t entries) const;
  // Reads rows [begin, end) of the share, of the file's numbering.
  void read(std::int64_t begin, std::int64_t end, RawRows& out);
  std::string const& place() const { return place_; }

 private:
  void open_sparse(std::string const& path, bool by_row);
  std::vector<std::int64_t> read_indptr(NumberArray const& indptr, RowRange lines, std::int64_t across) const;
  // Calls visit(column, row, entry) for every entry of the columns, in order; piece by piece, `values` beside if asked.
  template <class Visit>
  void walk_columns(bool with_values, Visit const& visit);
  void count_csc_rows();
  void fill_csc_window(std::int64_t begin);

  H5adInput const& input_;
  std::string place_;
  Storage storage_ = Storage::dense;
  std::int64_t rows_ = 0, columns_ = 0, entries_ = 0;
  RowRange share_;
  std::vector<std::int64_t> indptr_;  // CSR, CSC: where each row of the share begins; [share + 1]
  std::optional<NumberArray> data_, indices_, line_indptr_;
  std::int64_t csc_window_bytes_;
  RowRange window_;  // the rows that csc_window_ holds
  RawRows csc_window_;
  Numbers piece_indices_, piece_values_;
};

}  // namespace retort
