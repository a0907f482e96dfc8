// The inner loops of shard_linear.hpp, compiled once for each vector width that a CPU may have.
#pragma once

#include <cstdint>

namespace retort::kernel {

// Columns [first, first + columns) of a panel [depth][64] (packed_kernel.hpp), the rest of it zeros, from a matrix whose rows
// lie `stride` floats apart: panel[k][c] = matrix[c][k] and matrix[k][c].
void pack_transposed(float const* matrix, std::int64_t stride, std::int64_t depth, std::int64_t columns, float* panel);
void pack_straight(float const* matrix, std::int64_t stride, std::int64_t depth, std::int64_t columns, float* panel);

// The gradient of a weight [out, in] for upstream [rows, out] and input [rows, in], rows in `shards` equal shards: each shard's
// sum over its rows in order, the sums added in a binary tree, written to `gradient` once. `shards` is a power of two.
void weight_gradient(float const* upstream, float const* input, std::int64_t rows, std::int64_t shards, std::int64_t out, std::int64_t in, float* gradient);
// The same for a bias [out]: sums of the columns of upstream.
void bias_gradient(float const* upstream, std::int64_t rows, std::int64_t shards, std::int64_t out, float* gradient);

}  // namespace retort::kernel
