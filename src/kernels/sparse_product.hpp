// The inner loops of sparse_linear, compiled once for each vector width that a CPU may have.
#pragma once

#include <cstdint>

namespace retort::kernel {

// Some rows' non-zeros; index k of row i: begin[i] <= k < begin[i + 1].
struct SparseRows {
  std::int64_t const* begin;
  std::int32_t const* index;
  float const* value;
};

// result[i] = bias + sum over non-zeros (value * weight[index]), for rows first <= i < last; [rows, out] and [genes, out].
void multiply(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes, float const* weight,
              float const* bias, std::int64_t out, float* result);

// gradient[g] += sum over non-zeros of gene g (value * upstream[index]), for genes first <= g < last, in which `genes`
// holds the transposed block: a row a gene, index the cell. upstream [cells, out], gradient [genes, out].
void accumulate(SparseRows genes, std::int64_t first, std::int64_t last, float const* upstream, std::int64_t out, float* gradient);

}  // namespace retort::kernel
