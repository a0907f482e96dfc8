// The inner loops of packed_product.hpp, compiled once for each vector width that a CPU may have.
#pragma once

#include <cstdint>

namespace retort::kernel {

// Columns of a panel; a packed matrix [in, out] is [ceil(out / panel_columns)][in][panel_columns], padded with zeros.
inline constexpr std::int64_t panel_columns = 64;

// The first `columns` of one panel: result [rows, columns] = input [rows, in] @ panel + bias, or without a bias result
// + input @ panel. Rows of the input lie `stride` floats apart, of the result `out`. An element is one sum in the order
// of the inputs, so a product may be cut along `in` without changing a bit.
void multiply_panel(float const* input, std::int64_t stride, std::int64_t rows, std::int64_t in, float const* panel,
                    float const* bias, std::int64_t columns, float* result, std::int64_t out);

// result [rows, out] = input [rows, in] @ packed + bias [out]; rows of the input lie `stride` floats apart.
void multiply_packed(float const* input, std::int64_t stride, std::int64_t rows, std::int64_t in, float const* packed,
                     float const* bias, std::int64_t out, float* result);

}  // namespace retort::kernel
