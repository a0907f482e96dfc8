#include "retort/kernels/shard_kernel.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "retort/kernels/packed_kernel.hpp"
#include "retort/run/index.hpp"

namespace retort::kernel {
namespace {

using Lanes16 = float __attribute__((vector_size(64), aligned(4), may_alias));
using Lanes8 = float __attribute__((vector_size(32), aligned(4), may_alias));

constexpr std::int64_t block_rows = 6;        // of a tile; with four registers of columns its sums fill the registers
constexpr std::int64_t rows_of_a_group = 48;  // outputs that are packed at once: whole cache lines of upstream
constexpr std::int64_t floats_of_a_tile = block_rows * panel_columns;

// The transpose of eight rows of eight.
[[gnu::always_inline]] inline void transpose_block(Lanes8 const* row, Lanes8* column) {
  Lanes8 pair[8], four[8];
  for (int i = 0; i < 8; i += 2) {
    pair[i] = __builtin_shufflevector(row[i], row[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pair[i + 1] = __builtin_shufflevector(row[i], row[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; ++j) {
      four[i + 2 * j] = __builtin_shufflevector(pair[i + j], pair[i + 2 + j], 0, 1, 8, 9, 4, 5, 12, 13);
      four[i + 2 * j + 1] = __builtin_shufflevector(pair[i + j], pair[i + 2 + j], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; ++i) {
    column[i] = __builtin_shufflevector(four[i], four[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    column[i + 4] = __builtin_shufflevector(four[i], four[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

[[gnu::always_inline]] inline void transpose_any(float const* matrix, std::int64_t stride, std::int64_t rows,
                                                 std::int64_t columns, float* result, std::int64_t result_stride) {
  std::int64_t const whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
  for (std::int64_t c = 0; c < whole_columns; c += 8)  // whole lines of the result one after the other
    for (std::int64_t r = 0; r < whole_rows; r += 8) {
      Lanes8 row[8], column[8];
      for (int i = 0; i < 8; ++i) row[i] = *reinterpret_cast<Lanes8 const*>(matrix + (r + i) * stride + c);
      transpose_block(row, column);
      for (int i = 0; i < 8; ++i) *reinterpret_cast<Lanes8*>(result + (c + i) * result_stride + r) = column[i];
    }
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      result[c * result_stride + r] = matrix[r * stride + c];
}

[[gnu::always_inline]] inline void pack_panels_any(float const* matrix, std::int64_t depth, std::int64_t columns,
                                                   float* packed) {
  std::int64_t const whole = columns / panel_columns * panel_columns, rest = columns - whole;
  for (std::int64_t k = 0; k < depth; ++k) {  // whole rows, one after the other, as memory likes them
    float const* const row = matrix + k * columns;
    for (std::int64_t column = 0; column < whole; column += panel_columns)
      for (std::int64_t c = 0; c < panel_columns; c += 8)
        *reinterpret_cast<Lanes8*>(packed + column * depth + k * panel_columns + c) =
            *reinterpret_cast<Lanes8 const*>(row + column + c);
    if (!rest) continue;
    float* const last = packed + whole * depth + k * panel_columns;
    std::memcpy(last, row + whole, index(rest) * sizeof(float));
    std::memset(last + rest, 0, index(panel_columns - rest) * sizeof(float));
  }
}

// One tile: to [R][64] = add + sum over `rows` of left [rows][6] x right [rows][64]; without `add` the sum alone. Rows
// of `add` lie 64 floats apart, of the tile `stride`.
template <class Lanes, std::size_t R, std::size_t C>
[[gnu::always_inline]] inline void add_tile(float const* left, float const* right, std::int64_t rows, float const* add,
                                            float* to, std::int64_t stride) {
  constexpr std::size_t lane_count = sizeof(Lanes) / sizeof(float);
  for (std::int64_t column = 0; column < panel_columns; column += static_cast<std::int64_t>(C * lane_count)) {
    Lanes sum[R][C] = {};
    for (std::int64_t k = 0; k < rows; ++k) {
      Lanes value[C];
      for (std::size_t c = 0; c < C; ++c)
        value[c] = *reinterpret_cast<Lanes const*>(right + k * panel_columns + column + c * lane_count);
      for (std::size_t r = 0; r < R; ++r) {
        Lanes const factor = left[k * block_rows + static_cast<std::int64_t>(r)] - Lanes{};
        for (std::size_t c = 0; c < C; ++c) sum[r][c] += factor * value[c];
      }
    }
    for (std::size_t r = 0; r < R; ++r)
      for (std::size_t c = 0; c < C; ++c) {
        auto const place = column + static_cast<std::int64_t>(c * lane_count);
        auto const line = static_cast<std::int64_t>(r);
        if (add) sum[r][c] = *reinterpret_cast<Lanes const*>(add + line * panel_columns + place) + sum[r][c];
        *reinterpret_cast<Lanes*>(to + line * stride + place) = sum[r][c];
      }
  }
}

template <class Lanes, std::size_t C>
[[gnu::always_inline]] inline void add_tile_of(std::int64_t height, float const* left, float const* right,
                                               std::int64_t rows, float const* add, float* to, std::int64_t stride) {
  switch (height) {
    case 6:
      return add_tile<Lanes, 6, C>(left, right, rows, add, to, stride);
    case 5:
      return add_tile<Lanes, 5, C>(left, right, rows, add, to, stride);
    case 4:
      return add_tile<Lanes, 4, C>(left, right, rows, add, to, stride);
    case 3:
      return add_tile<Lanes, 3, C>(left, right, rows, add, to, stride);
    case 2:
      return add_tile<Lanes, 2, C>(left, right, rows, add, to, stride);
    default:
      return add_tile<Lanes, 1, C>(left, right, rows, add, to, stride);
  }
}

// A tile of all shards: a binary counter whose levels are tiles, [levels][6][64]. The last shard's sum ends in `to`.
template <class Lanes, std::size_t C>
[[gnu::always_inline]] inline void add_shards(std::int64_t height, float const* left, float const* right,
                                              std::int64_t rows, std::int64_t shards, float* levels, float* to,
                                              std::int64_t stride) {
  std::int64_t const of_a_shard = rows / shards;
  for (std::int64_t s = 0; s < shards; ++s) {
    auto const carries =
        static_cast<std::int64_t>(std::countr_one(static_cast<std::uint64_t>(s)));  // levels that this shard completes
    bool const last = s + 1 == shards;
    float* const here = last && carries < 2 ? to : levels + carries * floats_of_a_tile;
    add_tile_of<Lanes, C>(height, left + s * of_a_shard * block_rows, right + s * of_a_shard * panel_columns,
                          of_a_shard, carries ? levels : nullptr, here, here == to ? stride : panel_columns);
    for (std::int64_t level = 1; level < carries; ++level) {
      float const* const add = levels + level * floats_of_a_tile;
      float const* const from = levels + carries * floats_of_a_tile;
      bool const done = last && level + 1 == carries;
      for (std::int64_t r = 0; r < height; ++r) {
        float* const line = done ? to + r * stride : levels + carries * floats_of_a_tile + r * panel_columns;
        for (std::int64_t c = 0; c < panel_columns; ++c)
          line[c] = add[r * panel_columns + c] + from[r * panel_columns + c];
      }
    }
  }
}

// left [ceil(columns / 6)][rows][6] = the first `columns` of upstream, whose rows lie `stride` floats apart.
[[gnu::always_inline]] inline void pack_left(float const* upstream, std::int64_t stride, std::int64_t rows,
                                             std::int64_t columns, float* left) {
  std::int64_t const whole = columns / block_rows * block_rows;
  for (std::int64_t k = 0; k < rows; ++k) {
    float const* const from = upstream + k * stride;
    for (std::int64_t o = 0; o < whole; o += block_rows)
      std::memcpy(left + o * rows + k * block_rows, from + o, block_rows * sizeof(float));
    for (std::int64_t o = whole; o < columns; ++o) left[whole * rows + k * block_rows + o - whole] = from[o];
  }
}

template <class Lanes, std::size_t C>
[[gnu::always_inline]] inline void weight_gradient_any(float const* upstream, float const* input, std::int64_t rows,
                                                       std::int64_t shards, std::int64_t out, std::int64_t in,
                                                       float* gradient) {
  std::int64_t const panels = (in + panel_columns - 1) / panel_columns;
  auto const right = std::make_unique_for_overwrite<float[]>(index(panels * rows * panel_columns));
  auto const left = std::make_unique_for_overwrite<float[]>(index(rows * rows_of_a_group));
  std::vector<float> levels(index((std::countr_zero(static_cast<std::uint64_t>(shards)) + 1) * floats_of_a_tile));
  pack_panels(input, rows, in, right.get());
  float beside[floats_of_a_tile];
  for (std::int64_t group = 0; group < out; group += rows_of_a_group) {
    std::int64_t const group_rows = std::min(rows_of_a_group, out - group);
    pack_left(upstream + group, out, rows, group_rows, left.get());
    for (std::int64_t o = 0; o < group_rows; o += block_rows) {
      std::int64_t const height = std::min(block_rows, group_rows - o);
      for (std::int64_t p = 0; p < panels; ++p) {
        std::int64_t const columns = std::min(panel_columns, in - p * panel_columns);
        float* const to = gradient + (group + o) * in + p * panel_columns;
        bool const whole = columns == panel_columns;
        add_shards<Lanes, C>(height, left.get() + o * rows, right.get() + p * rows * panel_columns, rows, shards,
                             levels.data(), whole ? to : beside, whole ? in : panel_columns);
        for (std::int64_t r = 0; r < height && !whole; ++r)
          std::memcpy(to + r * in, beside + r * panel_columns, index(columns) * sizeof(float));
      }
    }
  }
}

#if defined(__x86_64__)
[[gnu::target("avx512f,avx512vl")]] void weight_gradient_avx512(float const* upstream, float const* input,
                                                                std::int64_t rows, std::int64_t shards,
                                                                std::int64_t out, std::int64_t in, float* gradient) {
  weight_gradient_any<Lanes16, 4>(upstream, input, rows, shards, out, in, gradient);
}
[[gnu::target("avx2,fma")]] void weight_gradient_avx2(float const* upstream, float const* input, std::int64_t rows,
                                                      std::int64_t shards, std::int64_t out, std::int64_t in,
                                                      float* gradient) {
  weight_gradient_any<Lanes8, 2>(upstream, input, rows, shards, out, in, gradient);
}
[[gnu::target("avx2")]] void transpose_avx2(float const* matrix, std::int64_t stride, std::int64_t rows,
                                            std::int64_t columns, float* result, std::int64_t result_stride) {
  transpose_any(matrix, stride, rows, columns, result, result_stride);
}
[[gnu::target("avx2")]] void pack_panels_avx2(float const* matrix, std::int64_t depth, std::int64_t columns,
                                              float* packed) {
  pack_panels_any(matrix, depth, columns, packed);
}
#endif

}  // namespace

void transpose(float const* matrix, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* result,
               std::int64_t result_stride) {
#if defined(__x86_64__)
  static bool const avx2 = __builtin_cpu_supports("avx2");
  if (avx2) return transpose_avx2(matrix, stride, rows, columns, result, result_stride);
#endif
  transpose_any(matrix, stride, rows, columns, result, result_stride);
}

void pack_transposed(float const* matrix, std::int64_t stride, std::int64_t depth, std::int64_t columns, float* panel) {
  if (columns < panel_columns) std::memset(panel, 0, index(depth * panel_columns) * sizeof(float));
  transpose(matrix, stride, columns, depth, panel, panel_columns);
}

void pack_panels(float const* matrix, std::int64_t depth, std::int64_t columns, float* packed) {
#if defined(__x86_64__)
  static bool const avx2 = __builtin_cpu_supports("avx2");
  if (avx2) return pack_panels_avx2(matrix, depth, columns, packed);
#endif
  pack_panels_any(matrix, depth, columns, packed);
}

void weight_gradient(float const* upstream, float const* input, std::int64_t rows, std::int64_t shards,
                     std::int64_t out, std::int64_t in, float* gradient) {
#if defined(__x86_64__)
  static bool const avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
  static bool const avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx512) return weight_gradient_avx512(upstream, input, rows, shards, out, in, gradient);
  if (avx2) return weight_gradient_avx2(upstream, input, rows, shards, out, in, gradient);
#endif
  weight_gradient_any<Lanes8, 1>(upstream, input, rows, shards, out, in, gradient);
}

void bias_gradient(float const* upstream, std::int64_t rows, std::int64_t shards, std::int64_t out, float* gradient) {
  std::int64_t const of_a_shard = rows / shards;
  std::vector<float> sums(index(shards * out));  // [shards, out]
  for (std::int64_t k = 0; k < rows; ++k) {
    float* const sum = sums.data() + k / of_a_shard * out;
    for (std::int64_t o = 0; o < out; ++o) sum[o] += upstream[k * out + o];
  }
  for (std::int64_t apart = 1; apart < shards; apart *= 2)
    for (std::int64_t s = 0; s < shards; s += 2 * apart)
      for (std::int64_t o = 0; o < out; ++o) sums[index(s * out + o)] += sums[index((s + apart) * out + o)];
  std::memcpy(gradient, sums.data(), index(out) * sizeof(float));
}

}  // namespace retort::kernel
