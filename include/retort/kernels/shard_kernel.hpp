// The inner loops of shard_linear.hpp, compiled once for each vector width that a CPU may have.
#pragma once

#include <cstdint>

namespace retort::kernel {

// result [columns, rows] = the transpose of matrix [rows, columns]; rows of either lie its stride of floats apart.
void transpose(float const* matrix, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* result,
               std::int64_t result_stride);

// A panel [depth][64] (packed_kernel.hpp), panel[k][c] = matrix[c][k] for `columns` rows of the matrix, `stride` floats
// apart, and zeros from there on.
void pack_transposed(float const* matrix, std::int64_t stride, std::int64_t depth, std::int64_t columns, float* panel);
// The matrix [depth, columns] as panels, [ceil(columns / 64)][depth][64], padded with zeros.
void pack_panels(float const* matrix, std::int64_t depth, std::int64_t columns, float* packed);

// The gradient of a weight [out, in] for upstream [rows, out] and input [rows, in], rows in `shards` equal shards: each
// shard's sum over its rows in order, the sums added in a binary tree, written to `gradient` once. `shards` is a power
// of two.
void weight_gradient(float const* upstream, float const* input, std::int64_t rows, std::int64_t shards,
                     std::int64_t out, std::int64_t in, float* gradient);
// The same for a bias [out]: sums of the columns of upstream.
void bias_gradient(float const* upstream, std::int64_t rows, std::int64_t shards, std::int64_t out, float* gradient);

}  // namespace retort::kernel
