#include "retort/kernels/packed_kernel.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "retort/run/index.hpp"

namespace retort::kernel {
namespace {

// Sixteen and eight floats: the registers of AVX-512, and those of AVX2 (which the compiler splits on older CPUs).
using Lanes16 = float __attribute__((vector_size(64), aligned(4), may_alias));
using Lanes8 = float __attribute__((vector_size(32), aligned(4), may_alias));

// R rows by C registers of columns of one panel, all sums in registers; a sum starts from the bias, or where there is
// none from the result, and takes the inputs in order, whatever R is. 6 x 4 registers of 16, or 6 x 2 of 8, are what a
// CPU has beside the operands.
template <class Lanes, std::size_t R, std::size_t C>
[[gnu::always_inline]] inline void add_block(float const* input, std::int64_t stride, std::int64_t in,
                                             float const* panel, float const* bias, float* result, std::int64_t out) {
  constexpr std::size_t lane_count = sizeof(Lanes) / sizeof(float);
  Lanes sum[R][C];
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t c = 0; c < C; ++c)
      sum[r][c] =
          *reinterpret_cast<Lanes const*>((bias ? bias : result + static_cast<std::int64_t>(r) * out) + c * lane_count);
  for (std::int64_t k = 0; k < in; ++k) {
    Lanes weight[C];
    for (std::size_t c = 0; c < C; ++c)
      weight[c] = *reinterpret_cast<Lanes const*>(panel + k * panel_columns + c * lane_count);
    for (std::size_t r = 0; r < R; ++r) {
      Lanes const value = input[static_cast<std::int64_t>(r) * stride + k] - Lanes{};
      for (std::size_t c = 0; c < C; ++c) sum[r][c] += value * weight[c];
    }
  }
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t c = 0; c < C; ++c)
      *reinterpret_cast<Lanes*>(result + static_cast<std::int64_t>(r) * out + c * lane_count) = sum[r][c];
}

// All rows of one panel, in blocks of similar size: 11 rows are 6 and 5, 7 are 4 and 3, never 6 and 1.
template <class Lanes, std::size_t C>
[[gnu::always_inline]] inline void add_panel(float const* input, std::int64_t stride, std::int64_t rows,
                                             std::int64_t in, float const* panel, float const* bias, float* result,
                                             std::int64_t out) {
  std::int64_t const blocks = (rows + 5) / 6;
  for (std::int64_t block = 0; block < blocks; ++block) {
    std::int64_t const begin = rows * block / blocks, count = rows * (block + 1) / blocks - begin;
    for (std::int64_t column = 0; column < panel_columns;
         column += static_cast<std::int64_t>(C * sizeof(Lanes) / sizeof(float))) {
      float const* const from = input + begin * stride;
      float const* const start = bias ? bias + column : nullptr;
      float* const to = result + begin * out + column;
      switch (count) {
        case 6:
          add_block<Lanes, 6, C>(from, stride, in, panel + column, start, to, out);
          break;
        case 5:
          add_block<Lanes, 5, C>(from, stride, in, panel + column, start, to, out);
          break;
        case 4:
          add_block<Lanes, 4, C>(from, stride, in, panel + column, start, to, out);
          break;
        case 3:
          add_block<Lanes, 3, C>(from, stride, in, panel + column, start, to, out);
          break;
        case 2:
          add_block<Lanes, 2, C>(from, stride, in, panel + column, start, to, out);
          break;
        default:
          add_block<Lanes, 1, C>(from, stride, in, panel + column, start, to, out);
      }
    }
  }
}

// The last columns, of which there are fewer than a panel has, six rows at a time beside the result.
template <class Lanes, std::size_t C>
[[gnu::always_inline]] inline void add_part(float const* input, std::int64_t stride, std::int64_t rows, std::int64_t in,
                                            float const* panel, float const* bias, std::int64_t columns, float* result,
                                            std::int64_t out) {
  float last_bias[panel_columns] = {}, last[6 * panel_columns] = {};
  auto const bytes = index(columns) * sizeof(float);
  if (bias) std::memcpy(last_bias, bias, bytes);
  for (std::int64_t row = 0; row < rows; row += 6) {
    std::int64_t const count = rows - row < 6 ? rows - row : 6;
    for (std::int64_t r = 0; r < count && !bias; ++r)
      std::memcpy(last + r * panel_columns, result + (row + r) * out, bytes);
    add_panel<Lanes, C>(input + row * stride, stride, count, in, panel, bias ? last_bias : nullptr, last,
                        panel_columns);
    for (std::int64_t r = 0; r < count; ++r) std::memcpy(result + (row + r) * out, last + r * panel_columns, bytes);
  }
}

template <class Lanes, std::size_t C>
[[gnu::always_inline]] inline void multiply_any(float const* input, std::int64_t stride, std::int64_t rows,
                                                std::int64_t in, float const* panel, float const* bias,
                                                std::int64_t columns, float* result, std::int64_t out) {
  if (columns < panel_columns) return add_part<Lanes, C>(input, stride, rows, in, panel, bias, columns, result, out);
  add_panel<Lanes, C>(input, stride, rows, in, panel, bias, result, out);
}

#if defined(__x86_64__)
[[gnu::target("avx512f")]] void multiply_avx512(float const* input, std::int64_t stride, std::int64_t rows,
                                                std::int64_t in, float const* panel, float const* bias,
                                                std::int64_t columns, float* result, std::int64_t out) {
  multiply_any<Lanes16, 4>(input, stride, rows, in, panel, bias, columns, result, out);
}
[[gnu::target("avx2,fma")]] void multiply_avx2(float const* input, std::int64_t stride, std::int64_t rows,
                                               std::int64_t in, float const* panel, float const* bias,
                                               std::int64_t columns, float* result, std::int64_t out) {
  multiply_any<Lanes8, 2>(input, stride, rows, in, panel, bias, columns, result, out);
}
#endif

}  // namespace

void multiply_panel(float const* input, std::int64_t stride, std::int64_t rows, std::int64_t in, float const* panel,
                    float const* bias, std::int64_t columns, float* result, std::int64_t out) {
#if defined(__x86_64__)
  static bool const avx512 = __builtin_cpu_supports("avx512f"),
                    avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx512) return multiply_avx512(input, stride, rows, in, panel, bias, columns, result, out);
  if (avx2) return multiply_avx2(input, stride, rows, in, panel, bias, columns, result, out);
#endif
  multiply_any<Lanes8, 1>(input, stride, rows, in, panel, bias, columns, result, out);
}

void multiply_packed(float const* input, std::int64_t stride, std::int64_t rows, std::int64_t in, float const* packed,
                     float const* bias, std::int64_t out, float* result) {
  for (std::int64_t column = 0; column < out; column += panel_columns, packed += in * panel_columns)
    multiply_panel(input, stride, rows, in, packed, bias + column, std::min(panel_columns, out - column),
                   result + column, out);
}

}  // namespace retort::kernel
