// Rows of a stranger's matrix, checked value by value and registered to the genes of the atlas.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "retort/cells/gene_vocabulary.hpp"
#include "retort/files/numbers.hpp"

namespace retort {

// What the values of a matrix are: whole counts; log values (log1p of something: never above log_limit); or other
// non-negative numbers, such as estimated counts, kept as they are.
enum class ValueKind : std::uint8_t { counts, log, real };

// log1p of 1e13: no log-normalised expression reaches it, and unlogged estimated counts soon do.
inline constexpr double log_limit = 30;

std::string name_of(ValueKind kind);

// Rows as they were read: row i's entries are [indptr[i], indptr[i + 1]). Without `indices` the rows are dense.
struct RawRows {
  std::int64_t columns = 0;
  bool dense = false;
  std::vector<std::int64_t> indptr;
  Numbers indices, values;
};

// Rows in the genes of the atlas, which rise within a row; no zeros. Values are whole counts, or the bits of a float32.
struct CheckedRows {
  std::vector<std::int64_t> indptr{0};
  std::vector<std::int32_t> genes;
  std::vector<std::uint32_t> values;
  std::uint32_t largest = 0;  // of whole counts
  std::int64_t rows() const { return static_cast<std::int64_t>(indptr.size()) - 1; }
};

// The first value that its kind does not allow.
struct ValueFault {
  std::int64_t row = 0, column = 0;
  double value = 0;
  std::string problem;  // "is negative"
};

// Replaces `out` with the registered rows; entries of genes that the atlas does not have are checked and left out, and
// duplicates are summed (of log values the sum is taken before the logarithm). Returns the first fault in row order
// instead, when `kind` does not allow a value. `place` ("'file.h5ad' X") and `first_row` are for messages.
// Throws Failure(bad_input) where an index is not that of a gene.
std::optional<ValueFault> check_rows(RawRows const& raw, GeneMap const& genes, ValueKind kind, std::string const& place,
                                     std::int64_t first_row, CheckedRows& out);

// The sum of a row's values, over the genes of the atlas.
double row_total(CheckedRows const& rows, std::int64_t row, ValueKind kind);

}  // namespace retort
