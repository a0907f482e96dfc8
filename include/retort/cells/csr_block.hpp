// Some cells in memory, compressed by row.
#pragma once

#include <cstdint>
#include <vector>

namespace retort {

// Row i's non-zeros are indices/values [indptr[i], indptr[i + 1]); indptr[0] is 0; indices rise within a row.
struct CsrBlock {
  std::int64_t genes = 0;
  std::vector<std::int64_t> indptr{0};
  std::vector<std::int32_t> indices;  // gene of each non-zero
  std::vector<float> values;          // counts, or log-normalised expression

  std::int64_t rows() const { return static_cast<std::int64_t>(indptr.size()) - 1; }
  std::int64_t nonzeros() const { return indptr.back(); }
};

// Scales each row to sum 1e4 and takes log1p, in place; a row that sums to zero stays zero (scanpy's convention).
void log_normalise(CsrBlock& cells, double target_sum = 1e4);

}  // namespace retort
