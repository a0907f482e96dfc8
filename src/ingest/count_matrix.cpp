#include "retort/ingest/count_matrix.hpp"

#include <algorithm>
#include <cstring>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

namespace {

constexpr std::int64_t piece_entries = 1 << 18;  // of columns, read at a time

std::string read_format(Hdf5Group const& group) {
  for (char const* name : {"encoding-type", "h5sparse_format"})
    if (auto const text = group.string_attribute(name)) return text->substr(0, 3);
  fail(ExitCode::bad_input,
       "{} is a group without encoding-type (csr_matrix and csc_matrix are read). Export the file again",
       group.place());
}

// Rows and columns as the file claims them.
std::pair<std::int64_t, std::int64_t> read_shape(Hdf5Group const& group) {
  std::vector<std::int64_t> shape;
  for (char const* name : {"shape", "h5sparse_shape"})
    if (shape.empty()) shape = group.integers_attribute(name);
  if (shape.size() != 2 || shape[0] < 0 || shape[1] < 0)
    fail(ExitCode::bad_input, "{} has no shape (two numbers are expected). Export the file again", group.place());
  return {shape[0], shape[1]};
}

}  // namespace

CountMatrix::CountMatrix(H5adInput const& input, InputLayer const& layer, std::int64_t genes, int part, int parts,
                         std::int64_t csc_window_bytes)
    : input_(input), place_("'" + input.name() + "' " + layer.name), csc_window_bytes_(csc_window_bytes) {
  bool const is_10x = layer.name == "matrix";
  bool by_row = true;
  if (input.file().kind(layer.path) == Hdf5Kind::dataset) {
    data_.emplace(input.descriptor(), input.file().dataset(layer.path));
    if (data_->shape().size() != 2)
      fail(ExitCode::bad_input, "{} has {} axes (a matrix has two). Export the file again", place_,
           data_->shape().size());
    rows_ = data_->shape()[0];
    columns_ = data_->shape()[1];
    entries_ = rows_ * columns_;
  } else if (is_10x) {  // genes x cells by column: cells x genes by row
    auto const shape = input.file().dataset("matrix/shape").read<std::int64_t>();
    if (shape.size() != 2)
      fail(ExitCode::bad_input, "{} has no shape (two numbers are expected). Export the file again", place_);
    columns_ = shape[0];
    rows_ = shape[1];
  } else {
    auto const group = input.file().group(layer.path);
    std::string const format = read_format(group);
    if (format != "csr" && format != "csc")
      fail(ExitCode::bad_input,
           "{} is stored as '{}' (csr_matrix, csc_matrix and dense arrays are read). Export the file again", place_,
           format);
    by_row = format == "csr";
    std::tie(rows_, columns_) = read_shape(group);
  }
  if (rows_ != input.cells() || columns_ != genes)
    fail(ExitCode::bad_input,
         "{} has shape {} x {} (there are {} cells in obs and {} gene names). Export the file again", place_, rows_,
         columns_, input.cells(), genes);
  share_ = share_of(rows_, part, parts);
  if (input.file().kind(layer.path) == Hdf5Kind::group) open_sparse(layer.path, by_row);
}

void CountMatrix::open_sparse(std::string const& path, bool by_row) {
  storage_ = by_row ? Storage::csr : Storage::csc;
  data_.emplace(input_.descriptor(), input_.file().dataset(path + "/data"));
  indices_.emplace(input_.descriptor(), input_.file().dataset(path + "/indices"));
  line_indptr_.emplace(input_.descriptor(), input_.file().dataset(path + "/indptr"));
  for (auto const* array : {&data_, &indices_, &line_indptr_})
    if ((*array)->shape().size() != 1)
      fail(ExitCode::bad_input, "{} has {} axes (1 is read). Export the file again", (*array)->place(),
           (*array)->shape().size());
  if (!indices_->is_integer())
    fail(ExitCode::bad_input, "{} holds {} (indices are integers). Repair the file", indices_->place(),
         name_of(indices_->type()));
  entries_ = data_->rows();
  std::int64_t const lines = by_row ? rows_ : columns_;
  if (indices_->rows() != entries_)
    fail(ExitCode::bad_input, "{} has {} entries, and {} has {} (they belong together). Repair the file",
         indices_->place(), indices_->rows(), data_->place(), entries_);
  if (line_indptr_->rows() != lines + 1)
    fail(ExitCode::bad_input, "{} has {} entries (the shape {} x {} needs {}). Repair the file", line_indptr_->place(),
         line_indptr_->rows(), rows_, columns_, lines + 1);
  std::int64_t const first = line_indptr_->integers(0, 1)[0], last = line_indptr_->integers(lines, 1)[0];
  if (first != 0)
    fail(ExitCode::bad_input, "{} begins with {} in row 0 (it must begin with 0). Repair the file",
         line_indptr_->place(), first);
  if (last != entries_)
    fail(ExitCode::bad_input, "{} ends with {} in row {} (there are {} entries in data). Repair the file",
         line_indptr_->place(), last, lines, entries_);
  if (by_row)
    indptr_ = read_indptr(*line_indptr_, share_, columns_);
  else
    count_csc_rows();
}

// Line beginnings [lines.begin, lines.end], checked; a line has at most one entry for each of `across`.
std::vector<std::int64_t> CountMatrix::read_indptr(NumberArray const& indptr, RowRange lines,
                                                   std::int64_t across) const {
  auto begins = indptr.integers(lines.begin, lines.size() + 1);
  for (std::size_t i = 0; i < begins.size(); ++i) {
    std::int64_t const row = lines.begin + static_cast<std::int64_t>(i);
    if (begins[i] < 0 || begins[i] > entries_)
      fail(ExitCode::bad_input, "{} has {} in row {} (there are {} entries in data). Repair the file", indptr.place(),
           begins[i], row, entries_);
    if (i > 0 && begins[i] < begins[i - 1])
      fail(ExitCode::bad_input, "{} falls from {} to {} in row {} (it must never fall). Repair the file",
           indptr.place(), begins[i - 1], begins[i], row);
    if (i > 0 && begins[i] - begins[i - 1] > across)
      fail(ExitCode::bad_input, "{} gives {} entries to row {} (there is room for {}). Repair the file", indptr.place(),
           begins[i] - begins[i - 1], row - 1, across);
  }
  return begins;
}

char const* CountMatrix::storage_name() const {
  return storage_ == Storage::dense ? "dense" : storage_ == Storage::csr ? "CSR" : "CSC";
}

std::int64_t CountMatrix::entries_of(std::int64_t row) const {
  if (storage_ == Storage::dense) return columns_;
  auto const i = index(row - share_.begin);
  return indptr_[i + 1] - indptr_[i];
}

std::int64_t CountMatrix::piece_end(std::int64_t begin, std::int64_t entries) const {
  if (begin >= share_.end) return share_.end;
  if (storage_ == Storage::dense)
    return std::min(share_.end, begin + std::max<std::int64_t>(1, entries / std::max<std::int64_t>(1, columns_)));
  auto const first = indptr_.begin() + (begin - share_.begin);
  // The first boundary past the limit ends one row later than the piece does. Empty rows cost memory too.
  auto const bound = std::upper_bound(first + 1, indptr_.end(), *first + entries) - 1;
  return std::clamp(share_.begin + (bound - indptr_.begin()), begin + 1,
                    std::min(share_.end, begin + std::max<std::int64_t>(1, entries)));
}

void CountMatrix::read(std::int64_t begin, std::int64_t end, RawRows& out) {
  out.columns = columns_;
  out.dense = storage_ == Storage::dense;
  out.indptr.assign(1, 0);
  for (std::int64_t row = begin; row < end; ++row) out.indptr.push_back(out.indptr.back() + entries_of(row));
  if (storage_ == Storage::dense) return data_->read(begin, end - begin, out.values);
  std::int64_t const first = indptr_[index(begin - share_.begin)], count = out.indptr.back();
  if (storage_ == Storage::csr) {
    indices_->read(first, count, out.indices);
    data_->read(first, count, out.values);
    return;
  }
  if (begin < window_.begin || end > window_.end) fill_csc_window(begin);
  std::int64_t const at = first - indptr_[index(window_.begin - share_.begin)];
  out.indices.resize(NumberType::i32, count);
  out.values.resize(data_->type(), count);
  std::int64_t const width = bytes_of(data_->type());
  std::memcpy(out.indices.data(), csc_window_.indices.data() + at * 4, index(count * 4));
  std::memcpy(out.values.data(), csc_window_.values.data() + at * width, index(count * width));
}

template <class Visit>
void CountMatrix::walk_columns(bool with_values, Visit const& visit) {
  constexpr std::int64_t columns_at_once = 1 << 16;
  for (std::int64_t first = 0; first < columns_; first += columns_at_once) {
    RowRange const some{first, std::min(columns_, first + columns_at_once)};
    auto const begins = read_indptr(*line_indptr_, some, rows_);
    std::size_t line = 0;
    for (std::int64_t begin = begins.front(); begin < begins.back(); begin += piece_entries) {
      std::int64_t const end = std::min(begins.back(), begin + piece_entries);
      indices_->read(begin, end - begin, piece_indices_);
      if (with_values) data_->read(begin, end - begin, piece_values_);
      with_number_type(indices_->type(), [&]<class Index>() {
        auto const rows = piece_indices_.as<Index>();
        for (std::int64_t entry = begin; entry < end; ++entry) {
          while (begins[line + 1] <= entry) ++line;
          visit(first + static_cast<std::int64_t>(line), static_cast<std::int64_t>(rows[index(entry - begin)]),
                entry - begin);
        }
      });
    }
  }
}

void CountMatrix::count_csc_rows() {
  indptr_.assign(index(share_.size()) + 1, 0);
  walk_columns(false, [&](std::int64_t column, std::int64_t row, std::int64_t) {
    if (row < 0 || row >= rows_)
      fail(ExitCode::bad_input, "{} has index {} in column {} (there are {} cells). Repair the file", indices_->place(),
           row, column, rows_);
    if (row >= share_.begin && row < share_.end) ++indptr_[index(row - share_.begin) + 1];
  });
  for (std::size_t i = 1; i < indptr_.size(); ++i) {
    if (indptr_[i] > columns_)  // the same cell several times in a column
      fail(ExitCode::bad_input, "{} gives {} entries to row {} (there are {} genes). Repair the file",
           indices_->place(), indptr_[i], share_.begin + static_cast<std::int64_t>(i) - 1, columns_);
    indptr_[i] += indptr_[i - 1];
  }
}

void CountMatrix::fill_csc_window(std::int64_t begin) {
  std::int64_t const width = bytes_of(data_->type());
  window_ = {begin, piece_end(begin, std::max<std::int64_t>(1, csc_window_bytes_ / (4 + width)))};
  auto const first = indptr_.begin() + (window_.begin - share_.begin);
  std::int64_t const count = first[window_.size()] - *first;
  csc_window_.indices.resize(NumberType::i32, count);
  csc_window_.values.resize(data_->type(), count);
  std::vector<std::int64_t> next(first, first + window_.size());
  for (auto& entry : next) entry -= *first;
  auto const columns = csc_window_.indices.as<std::int32_t>();
  std::byte* const values = csc_window_.values.data();
  // Columns come in order, so the genes rise within each row.
  walk_columns(true, [&](std::int64_t column, std::int64_t row, std::int64_t entry) {
    if (row < window_.begin || row >= window_.end) return;
    std::int64_t const to = next[index(row - window_.begin)]++;
    if (to >= count) fail(ExitCode::bad_input, "{} changed while it was read. Start again", indices_->place());
    columns[index(to)] = static_cast<std::int32_t>(column);
    std::memcpy(values + to * width, piece_values_.data() + entry * width, index(width));
  });
}

}  // namespace retort
