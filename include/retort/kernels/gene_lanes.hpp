// Products, norms and softmax of arrays whose lanes are genes: what the loops of gene_decoder are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "retort/kernels/vector_math.hpp"

namespace retort::kernel {

// `Cpu` names the registers: Lanes, a vector of floats, and Words, one of integers; rows, how many rows a block of a
// product has; and multiply and turn, which are multiply_any and turn_any compiled for them.
//
// An array is [rows][genes of the tile]: norms, softmax and SiLU need no sum across lanes, and a Linear is
// multiply-adds of one weight with a vector of genes. Gradients of weights are sums over genes: there one of the
// factors is turned, and lanes are its rows. Both are a `Product`. The order of every sum is fixed, and a gene's score
// depends neither on other cells nor on other genes.
constexpr std::int64_t tile =
    64;  // genes that pass together: what they need stays in the caches next to the core; 32 and 128 are as fast
// Rows that are turned so that their numbers become lanes are padded to a multiple of this.
constexpr std::int64_t widest_vector = 16;
constexpr std::int64_t padded(std::int64_t count) {
  return (count + widest_vector - 1) / widest_vector * widest_vector;
}

// to[row][lane] = start[row][lane] (or zero, where there is none) + sum over terms (factor(row, term) *
// from[term][lane]). Factors of neighbouring rows lie side by side, or where `apart` a tile's row apart.
struct Product {
  float const* factors;
  std::int64_t next_factor;  // from a term to the next
  std::int64_t rows, terms;
  float const* from;
  std::int64_t from_row;
  float const* start;
  float* to;
  std::int64_t to_row;  // of start as well
  std::int64_t lanes;
};

template <class Cpu>
[[gnu::always_inline]] inline typename Cpu::Lanes& lanes_at(float* place) {
  return *reinterpret_cast<typename Cpu::Lanes*>(place);
}
template <class Cpu>
[[gnu::always_inline]] inline typename Cpu::Lanes const& lanes_at(float const* place) {
  return *reinterpret_cast<typename Cpu::Lanes const*>(place);
}
template <class Cpu>
constexpr std::int64_t lane_count = sizeof(typename Cpu::Lanes) / sizeof(float);

// R rows by C vectors, all sums in registers.
template <class Cpu, bool apart, std::int64_t R, std::int64_t C>
[[gnu::always_inline]] inline void multiply_block(Product const p, std::int64_t row, std::int64_t lane) {
  using Lanes = typename Cpu::Lanes;
  constexpr std::int64_t count = lane_count<Cpu>;
  float* const to = p.to + row * p.to_row + lane;
  Lanes sum[std::size_t{R}][std::size_t{C}];
#pragma GCC unroll 16  // or the sums live in memory
  for (std::int64_t r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (std::int64_t c = 0; c < C; ++c)
      sum[r][c] = p.start ? lanes_at<Cpu>(p.start + (row + r) * p.to_row + lane + c * count) : Lanes{};
  float const* factors = p.factors + (apart ? row * tile : row);
  float const* from = p.from + lane;
  for (std::int64_t term = 0; term < p.terms; ++term, factors += p.next_factor, from += p.from_row) {
    Lanes value[std::size_t{C}];
#pragma GCC unroll 4
    for (std::int64_t c = 0; c < C; ++c) value[c] = lanes_at<Cpu>(from + c * count);
#pragma GCC unroll 16
    for (std::int64_t r = 0; r < R; ++r) {
      Lanes const factor = factors[apart ? r * tile : r] - Lanes{};
#pragma GCC unroll 4
      for (std::int64_t c = 0; c < C; ++c) sum[r][c] += factor * value[c];
    }
  }
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (std::int64_t c = 0; c < C; ++c) lanes_at<Cpu>(to + r * p.to_row + c * count) = sum[r][c];
}

template <class Cpu, bool apart, std::int64_t C>
[[gnu::always_inline]] inline void multiply_panel(Product const p, std::int64_t lane) {
  constexpr std::int64_t R = Cpu::rows;
  std::int64_t row = 0;
  for (; row + R <= p.rows; row += R) multiply_block<Cpu, apart, R, C>(p, row, lane);
  for (; row + 4 <= p.rows; row += 4) multiply_block<Cpu, apart, 4, C>(p, row, lane);
  for (; row < p.rows; ++row) multiply_block<Cpu, apart, 1, C>(p, row, lane);
}

template <class Cpu, bool apart>
[[gnu::always_inline]] inline void multiply_any(Product const p) {
  std::int64_t lane = 0;
  for (; lane + 2 * lane_count<Cpu> <= p.lanes; lane += 2 * lane_count<Cpu>) multiply_panel<Cpu, apart, 2>(p, lane);
  for (; lane < p.lanes; lane += lane_count<Cpu>) multiply_panel<Cpu, apart, 1>(p, lane);
}

// Linear layers and their derivatives by the input: [terms][tile] -> [rows][tile], with `matrix` [terms, rows].
template <class Cpu>
[[gnu::always_inline]] inline void linear(float const* matrix, std::int64_t matrix_row, std::int64_t rows,
                                          std::int64_t terms, float const* from, float const* start, float* to) {
  Cpu::template multiply<false>({matrix, matrix_row, rows, terms, from, tile, start, to, tile, tile});
}
// Gradients of weights: sums [rows, lanes] += left [rows][tile] times right [tile][right_row].
template <class Cpu>
[[gnu::always_inline]] inline void add_outer(float const* left, std::int64_t rows, float const* right,
                                             std::int64_t right_row, std::int64_t lanes, float* sums) {
  Cpu::template multiply<true>({left, 1, rows, tile, right, right_row, sums, sums, lanes, lanes});
}

// 1 / sqrt(x) of normal x > 0 by Newton's method.
template <class Cpu>
[[gnu::always_inline]] inline void take_inverse_root(typename Cpu::Lanes& x) {
  auto const guess = 0x5f3759df - (__builtin_bit_cast(typename Cpu::Words, x) >> 1);
  auto const half = 0.5F * x;
  x = __builtin_bit_cast(typename Cpu::Lanes, guess);
  for (int step = 0; step < 4; ++step) x *= 1.5F - half * x * x;
}

// [rows][tile] -> [tile][to_row]; rows up to the next multiple of the widest vector are read, and land in the padding.
template <class Cpu, std::size_t... i>
[[gnu::always_inline]] inline void turn_any(float const* from, std::int64_t rows, float* to, std::int64_t to_row,
                                            std::index_sequence<i...>) {
  using Lanes = typename Cpu::Lanes;
  constexpr std::int64_t count = sizeof...(i), half = count / 2;
  for (std::int64_t row = 0; row < padded(rows); row += count)
    for (std::int64_t gene = 0; gene < tile; gene += count) {
      Lanes block[sizeof...(i)];
#pragma GCC unroll 16
      for (std::int64_t r = 0; r < count; ++r) block[r] = lanes_at<Cpu>(from + (row + r) * tile + gene);
        // Each round interleaves row r with row r + half; after log2(count) rounds rows and columns have changed
        // places.
#pragma GCC unroll 4
      for (std::int64_t round = 1; round < count; round *= 2) {
        Lanes mixed[sizeof...(i)];
#pragma GCC unroll 8
        for (std::int64_t r = 0; r < half; ++r) {
          mixed[2 * r] = __builtin_shufflevector(block[r], block[r + half], (i / 2 + i % 2 * sizeof...(i))...);
          mixed[2 * r + 1] =
              __builtin_shufflevector(block[r], block[r + half], (i / 2 + i % 2 * sizeof...(i) + half)...);
        }
#pragma GCC unroll 16
        for (std::int64_t r = 0; r < count; ++r) block[r] = mixed[r];
      }
#pragma GCC unroll 16
      for (std::int64_t r = 0; r < count; ++r) lanes_at<Cpu>(to + (gene + r) * to_row + row) = block[r];
    }
}

// Logits [tokens][tile] of each head become exponentials of what they are below the largest; `inverse` [heads][tile]: 1
// / their sums.
template <class Cpu>
[[gnu::always_inline]] inline void soften(float* logits, std::int64_t heads, std::int64_t tokens, float* inverse) {
  using Lanes = typename Cpu::Lanes;
  for (std::int64_t h = 0; h < heads; ++h)
    for (std::int64_t gene = 0; gene < tile; gene += lane_count<Cpu>) {
      float* const column = logits + h * tokens * tile + gene;
      Lanes largest = lanes_at<Cpu>(column), sum = {};
      for (std::int64_t t = 1; t < tokens; ++t) {
        Lanes const logit = lanes_at<Cpu>(column + t * tile);
        largest = logit > largest ? logit : largest;
      }
      for (std::int64_t t = 0; t < tokens; ++t) {
        Lanes share = lanes_at<Cpu>(column + t * tile) - largest;
        exponentiate<Lanes, typename Cpu::Words>(share);
        lanes_at<Cpu>(column + t * tile) = share;
        sum += share;
      }
      lanes_at<Cpu>(inverse + h * tile + gene) = 1.0F / sum;
    }
}

// LayerNorm without scale and shift; `inverse` [tile]: what it divided by.
template <class Cpu>
[[gnu::always_inline]] inline void normalise(float const* x, std::int64_t width, float epsilon, float* to,
                                             float* inverse) {
  using Lanes = typename Cpu::Lanes;
  float const share = 1.0F / static_cast<float>(width);
  for (std::int64_t gene = 0; gene < tile; gene += lane_count<Cpu>) {
    Lanes mean = {}, variance = {};
    for (std::int64_t j = 0; j < width; ++j) mean += lanes_at<Cpu>(x + j * tile + gene);
    mean *= share;
    for (std::int64_t j = 0; j < width; ++j) {
      Lanes const centred = lanes_at<Cpu>(x + j * tile + gene) - mean;
      lanes_at<Cpu>(to + j * tile + gene) = centred;
      variance += centred * centred;
    }
    Lanes root = variance * share + epsilon;
    take_inverse_root<Cpu>(root);
    lanes_at<Cpu>(inverse + gene) = root;
    for (std::int64_t j = 0; j < width; ++j) lanes_at<Cpu>(to + j * tile + gene) *= root;
  }
}

// Its derivative, inverse * (g - mean(g) - normed * mean(g * normed)), plus `start` where there is one; `to` may be
// either of them.
template <class Cpu>
[[gnu::always_inline]] inline void add_through_norm(float const* gradient, float const* normed, float const* inverse,
                                                    std::int64_t width, float const* start, float* to) {
  using Lanes = typename Cpu::Lanes;
  float const share = 1.0F / static_cast<float>(width);
  for (std::int64_t gene = 0; gene < tile; gene += lane_count<Cpu>) {
    Lanes mean = {}, inner = {};
    for (std::int64_t j = 0; j < width; ++j) {
      Lanes const g = lanes_at<Cpu>(gradient + j * tile + gene);
      mean += g;
      inner += g * lanes_at<Cpu>(normed + j * tile + gene);
    }
    mean *= share, inner *= share;
    Lanes const root = lanes_at<Cpu>(inverse + gene);
    for (std::int64_t j = 0; j < width; ++j) {
      Lanes const g =
          root * (lanes_at<Cpu>(gradient + j * tile + gene) - mean - inner * lanes_at<Cpu>(normed + j * tile + gene));
      lanes_at<Cpu>(to + j * tile + gene) = start ? g + lanes_at<Cpu>(start + j * tile + gene) : g;
    }
  }
}

// sums [scores, rows] lanes += x [rows][tile] * of_scores [scores][tile].
template <class Cpu>
[[gnu::always_inline]] inline void add_inner(float const* x, std::int64_t rows, float const* of_scores,
                                             std::int64_t scores, float* sums) {
  for (std::int64_t s = 0; s < scores; ++s)
    for (std::int64_t row = 0; row < rows; ++row) {
      auto& place = lanes_at<Cpu>(sums + (s * rows + row) * widest_vector);
      auto sum = place;
#pragma GCC unroll 8
      for (std::int64_t gene = 0; gene < tile; gene += lane_count<Cpu>)
        sum += lanes_at<Cpu>(x + row * tile + gene) * lanes_at<Cpu>(of_scores + s * tile + gene);
      place = sum;
    }
}

}  // namespace retort::kernel
