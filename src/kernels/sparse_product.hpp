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

// result[i] = bias + sum over non-zeros (value * weight[index]), for rows first <= i < last; [rows, out] and [genes,
// out].
void multiply(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes, float const* weight,
              float const* bias, std::int64_t out, float* result);

// The same with a weight rounded to bfloat16 and laid out by `interleave`; values are rounded too, sums are float32.
// `out` is a multiple of 32.
void multiply(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes, std::uint32_t const* weight,
              float const* bias, std::int64_t out, float* result);

// weight [genes, out] -> [genes, out / 2] words of two numbers rounded to the nearest bfloat16, in the order that this
// CPU's product wants: of every 32 columns, word j holds columns j and j + 16, so that a shift and a mask give two
// vectors of floats; where the CPU multiplies bfloat16, unpacking two rows gives columns 0 to 15 of both and 16 to 31
// of both.
void interleave(float const* weight, std::int64_t genes, std::int64_t out, std::uint32_t* words);

// gradient[g] += sum over non-zeros of gene g (value * upstream[index]), for genes first <= g < last, in which `genes`
// holds the transposed block: a row a gene, index the cell. upstream [cells, out], gradient [genes, out].
void accumulate(SparseRows genes, std::int64_t first, std::int64_t last, float const* upstream, std::int64_t out,
                float* gradient);

// gradient[g] = the same sum, or zeros, whatever was there: each of `shards` (a power of two) shards of `rows` cells
// for itself, the shards' sums added in a binary tree.
void write_by_shard(SparseRows genes, std::int64_t first, std::int64_t last, std::int64_t rows, std::int64_t shards,
                    float const* upstream, std::int64_t out, float* gradient);

}  // namespace retort::kernel
