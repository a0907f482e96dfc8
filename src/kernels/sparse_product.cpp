#include "sparse_product.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>

#include "retort/run/index.hpp"
#endif

namespace retort::kernel {
namespace {

// Sixteen floats, which the compiler splits where the CPU's registers are narrower. Sums are formed lane by lane in the
// order of the non-zeros; fused multiply-adds make the last bits differ between CPU models, never between runs.
using Lanes = float __attribute__((vector_size(64), aligned(4), may_alias));
using Words = std::uint32_t __attribute__((vector_size(64), aligned(4), may_alias));
constexpr std::int64_t lane_count = 16;
// A group of genes whose rows of the weight stay in the second-level cache (64 x 1024 floats are 256 KB) while all
// cells pass: 24 ms against 62 ms row by row and 52 ms of at::embedding_bag (256 cells, 20,000 genes, 1,900 non-zeros,
// 1,024 outputs).
template <typename Weight>
constexpr std::int64_t genes_of_a_group = std::is_floating_point_v<Weight> ? 64 : 128;

// The nearest bfloat16 of a finite number, ties to even.
std::uint32_t half(float value) {
  auto const bits = std::bit_cast<std::uint32_t>(value);
  return (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
}

// into[column ...] += sum of value * rows[index][column ...] over one run of non-zeros, N x 16 columns at once.
template <std::size_t N>
[[gnu::always_inline]] inline void add_run(SparseRows const& run, std::int64_t begin, std::int64_t end,
                                           float const* rows, std::int64_t width, std::int64_t column, float* into,
                                           bool onto_zero) {
  auto* const target = reinterpret_cast<Lanes*>(into + column);
  Lanes sum[N];
#pragma GCC unroll 16  // or the sums live in memory: half the speed
  for (std::size_t j = 0; j < N; ++j) sum[j] = onto_zero ? Lanes{} : target[j];
  for (std::int64_t k = begin; k < end; ++k) {
    auto const* const row = reinterpret_cast<Lanes const*>(rows + run.index[k] * width + column);
    Lanes const value = run.value[k] - Lanes{};
#pragma GCC unroll 16
    for (std::size_t j = 0; j < N; ++j) sum[j] += value * row[j];
  }
#pragma GCC unroll 16
  for (std::size_t j = 0; j < N; ++j) target[j] = onto_zero ? target[j] + sum[j] : sum[j];
}

// The same for a weight of bfloat16: a row is `width / 2` words.
template <std::size_t N>
[[gnu::always_inline]] inline void add_run(SparseRows const& run, std::int64_t begin, std::int64_t end,
                                           std::uint32_t const* rows, std::int64_t width, std::int64_t column,
                                           float* into) {
  auto* const target = reinterpret_cast<Lanes*>(into + column);
  Lanes sum[N];
#pragma GCC unroll 16  // or the sums live in memory: half the speed
  for (std::size_t j = 0; j < N; ++j) sum[j] = target[j];
  for (std::int64_t k = begin; k < end; ++k) {
    auto const* const row = reinterpret_cast<Words const*>(rows + (run.index[k] * width + column) / 2);
    Lanes const value = std::bit_cast<float>(half(run.value[k]) << 16) - Lanes{};
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N / 2; ++j) {
      Words const low = row[j] << 16, high = row[j] & 0xFFFF0000u;
      sum[2 * j] += value * reinterpret_cast<Lanes const&>(low);
      sum[2 * j + 1] += value * reinterpret_cast<Lanes const&>(high);
    }
  }
#pragma GCC unroll 16
  for (std::size_t j = 0; j < N; ++j) target[j] = sum[j];
}

// `onto_zero`: the run's sum is formed from zero and added once; otherwise terms are added to what is there.
[[gnu::always_inline]] inline void add_all_columns(SparseRows const& run, std::int64_t begin, std::int64_t end,
                                                   float const* rows, std::int64_t width, float* into, bool onto_zero) {
  std::int64_t column = 0;
  for (; column + 16 * lane_count <= width; column += 16 * lane_count)
    add_run<16>(run, begin, end, rows, width, column, into, onto_zero);
  for (; column + 4 * lane_count <= width; column += 4 * lane_count)
    add_run<4>(run, begin, end, rows, width, column, into, onto_zero);
  for (; column + lane_count <= width; column += lane_count)
    add_run<1>(run, begin, end, rows, width, column, into, onto_zero);
  for (; column < width; ++column) {
    float sum = onto_zero ? 0.0f : into[column];
    for (std::int64_t k = begin; k < end; ++k) sum += run.value[k] * rows[run.index[k] * width + column];
    into[column] = onto_zero ? into[column] + sum : sum;
  }
}

[[gnu::always_inline]] inline void add_to_all_columns(SparseRows const& run, std::int64_t begin, std::int64_t end,
                                                      float const* rows, std::int64_t width, float* into) {
  add_all_columns(run, begin, end, rows, width, into, false);
}
[[gnu::always_inline]] inline void add_to_all_columns(SparseRows const& run, std::int64_t begin, std::int64_t end,
                                                      std::uint32_t const* rows, std::int64_t width, float* into) {
  std::int64_t column = 0;
  for (; column + 16 * lane_count <= width; column += 16 * lane_count)
    add_run<16>(run, begin, end, rows, width, column, into);
  for (; column + 2 * lane_count <= width; column += 2 * lane_count)
    add_run<2>(run, begin, end, rows, width, column, into);
}

// visit(i, begin, end) for each cell's non-zeros in a group of genes, all cells of a group before the next group. What
// the next group will read, of the weight and of the non-zeros, is fetched into the second-level cache meanwhile: a
// tenth of the time.
template <typename Weight, typename Visit>
[[gnu::always_inline]] inline void for_each_run(SparseRows cells, std::int64_t first, std::int64_t last,
                                                std::int64_t genes, Weight const* weight, std::int64_t words_of_a_row,
                                                Visit visit) {
  constexpr std::int64_t group_size = genes_of_a_group<Weight>, words_of_a_line = 16, cells_that_reach_most_genes = 64;
  std::int64_t const words_to_fetch = last - first < cells_that_reach_most_genes ? 0 : words_of_a_row;
  std::vector<std::int64_t> reached(cells.begin + first, cells.begin + last);
  for (std::int64_t group = group_size;; group += group_size) {
    for (std::int64_t i = first; i < last; ++i) {
      std::int64_t& next = reached[index(i - first)];
      std::int64_t const begin = next;
      while (next < cells.begin[i + 1] && cells.index[next] < group) ++next;
      __builtin_prefetch(cells.index + next + words_of_a_line, 0, 2);
      __builtin_prefetch(cells.value + next + words_of_a_line, 0, 2);
      std::int64_t const words = std::max<std::int64_t>(0, std::min(group_size, genes - group)) *
                                 words_to_fetch;  // of the next group, each cell its share
      for (std::int64_t word = words * (i - first) / (last - first); word < words * (i - first + 1) / (last - first);
           word += words_of_a_line)
        __builtin_prefetch(weight + group * words_of_a_row + word, 0, 2);
      if (begin < next) visit(i, begin, next);
    }
    if (group >= genes) break;
  }
}

void begin_with(float const* bias, std::int64_t first, std::int64_t last, std::int64_t out, float* result) {
  for (std::int64_t i = first; i < last; ++i) std::memcpy(result + i * out, bias, index(out) * sizeof(float));
}

template <typename Weight>
[[gnu::always_inline]] inline void multiply_any(SparseRows cells, std::int64_t first, std::int64_t last,
                                                std::int64_t genes, Weight const* weight, float const* bias,
                                                std::int64_t out, float* result) {
  begin_with(bias, first, last, out, result);
  if (cells.begin[last] - cells.begin[first] <
      (last - first) * (genes / genes_of_a_group<Weight>)) {  // rows of few genes each, such as a pathway's: most
                                                              // groups would be visited for nothing
    for (std::int64_t i = first; i < last; ++i)
      add_to_all_columns(cells, cells.begin[i], cells.begin[i + 1], weight, out, result + i * out);
    return;
  }
  for_each_run(
      cells, first, last, genes, weight, std::is_floating_point_v<Weight> ? out : out / 2,
      [&](std::int64_t i, std::int64_t begin, std::int64_t end)
          __attribute__((always_inline)) { add_to_all_columns(cells, begin, end, weight, out, result + i * out); });
}

[[gnu::always_inline]] inline void accumulate_any(SparseRows genes, std::int64_t first, std::int64_t last,
                                                  float const* upstream, std::int64_t out, float* gradient) {
  for (std::int64_t g = first; g < last; ++g) {
    if (genes.begin[g] < genes.begin[g + 1])
      add_all_columns(genes, genes.begin[g], genes.begin[g + 1], upstream, out, gradient + g * out, true);
  }
}

[[gnu::always_inline]] inline void write_by_shard_any(SparseRows genes, std::int64_t first, std::int64_t last,
                                                      std::int64_t rows, std::int64_t shards, float const* upstream,
                                                      std::int64_t out, float* gradient) {
  std::vector<float> others(index((shards - 1) * out));  // of the shards past the first, whose sum is formed in place
  for (std::int64_t g = first; g < last; ++g) {
    auto const sum_of = [&](std::int64_t s) { return s ? others.data() + (s - 1) * out : gradient + g * out; };
    std::int64_t next = genes.begin[g];
    for (std::int64_t s = 0; s < shards; ++s) {
      std::int64_t const begin = next;
      while (next < genes.begin[g + 1] && genes.index[next] < (s + 1) * rows) ++next;
      std::memset(sum_of(s), 0, index(out) * sizeof(float));
      if (begin < next) add_all_columns(genes, begin, next, upstream, out, sum_of(s), false);
    }
    for (std::int64_t apart = 1; apart < shards; apart *= 2)
      for (std::int64_t s = 0; s < shards; s += 2 * apart) {
        float* const into = sum_of(s);
        float const* const from = sum_of(s + apart);
        for (std::int64_t c = 0; c < out; ++c) into[c] += from[c];
      }
  }
}

#if defined(__x86_64__)
#define RETORT_HALF_TARGET "avx512f,avx512bw,avx512bf16"

// The same where the CPU multiplies bfloat16, two non-zeros an instruction. `pairs`: the values of a run, rounded.
template <std::size_t N>
[[gnu::target(RETORT_HALF_TARGET)]] void add_pairs(std::int32_t const* index, std::uint32_t const* pairs,
                                                   std::int64_t count, std::uint32_t const* rows, std::int64_t width,
                                                   std::int64_t column, float* into) {
  __m512 sum[N];
#pragma GCC unroll 16  // or the sums live in memory: half the speed
  for (std::size_t j = 0; j < N; ++j) sum[j] = _mm512_loadu_ps(into + column + j * lane_count);
  for (std::int64_t k = 0; k < count; k += 2) {
    std::uint32_t const* const first = rows + (index[k] * width + column) / 2;
    std::uint32_t const* const second = k + 1 < count ? rows + (index[k + 1] * width + column) / 2 : first;
    auto const value = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(pairs[k / 2])));
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N / 2; ++j) {
      __m512i const a = _mm512_loadu_si512(first + j * lane_count), b = _mm512_loadu_si512(second + j * lane_count);
      sum[2 * j] = _mm512_dpbf16_ps(sum[2 * j], reinterpret_cast<__m512bh>(_mm512_unpacklo_epi16(a, b)), value);
      sum[2 * j + 1] = _mm512_dpbf16_ps(sum[2 * j + 1], reinterpret_cast<__m512bh>(_mm512_unpackhi_epi16(a, b)), value);
    }
  }
#pragma GCC unroll 16
  for (std::size_t j = 0; j < N; ++j) _mm512_storeu_ps(into + column + j * lane_count, sum[j]);
}

[[gnu::target(RETORT_HALF_TARGET)]] void multiply_pairs(SparseRows cells, std::int64_t first, std::int64_t last,
                                                        std::int64_t genes, std::uint32_t const* weight,
                                                        float const* bias, std::int64_t out, float* result) {
  begin_with(bias, first, last, out, result);
  constexpr std::int64_t group = genes_of_a_group<std::uint32_t>;
  std::array<std::uint32_t, group / 2> pairs;
  for_each_run(cells, first, last, genes, weight, out / 2, [&](std::int64_t i, std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; k += 2)
      pairs[index(k - begin) / 2] = half(cells.value[k]) | (k + 1 < end ? half(cells.value[k + 1]) << 16 : 0);
    std::int64_t column = 0;
    for (; column + 16 * lane_count <= out; column += 16 * lane_count)
      add_pairs<16>(cells.index + begin, pairs.data(), end - begin, weight, out, column, result + i * out);
    for (; column + 2 * lane_count <= out; column += 2 * lane_count)
      add_pairs<2>(cells.index + begin, pairs.data(), end - begin, weight, out, column, result + i * out);
  });
}

bool multiplies_pairs() {
  static bool const does = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw");
  return does;
}

enum class Width { avx512, avx2, any };
Width width_of_cpu() {
  static Width const width = __builtin_cpu_supports("avx512f")                                 ? Width::avx512
                             : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Width::avx2
                                                                                               : Width::any;
  return width;
}

template <typename Weight>
[[gnu::target("avx512f")]] void multiply_avx512(SparseRows cells, std::int64_t first, std::int64_t last,
                                                std::int64_t genes, Weight const* weight, float const* bias,
                                                std::int64_t out, float* result) {
  multiply_any(cells, first, last, genes, weight, bias, out, result);
}
template <typename Weight>
[[gnu::target("avx2,fma")]] void multiply_avx2(SparseRows cells, std::int64_t first, std::int64_t last,
                                               std::int64_t genes, Weight const* weight, float const* bias,
                                               std::int64_t out, float* result) {
  multiply_any(cells, first, last, genes, weight, bias, out, result);
}
[[gnu::target("avx512f")]] void accumulate_avx512(SparseRows genes, std::int64_t first, std::int64_t last,
                                                  float const* upstream, std::int64_t out, float* gradient) {
  accumulate_any(genes, first, last, upstream, out, gradient);
}
[[gnu::target("avx2,fma")]] void accumulate_avx2(SparseRows genes, std::int64_t first, std::int64_t last,
                                                 float const* upstream, std::int64_t out, float* gradient) {
  accumulate_any(genes, first, last, upstream, out, gradient);
}
[[gnu::target("avx512f")]] void write_by_shard_avx512(SparseRows genes, std::int64_t first, std::int64_t last,
                                                      std::int64_t rows, std::int64_t shards, float const* upstream,
                                                      std::int64_t out, float* gradient) {
  write_by_shard_any(genes, first, last, rows, shards, upstream, out, gradient);
}
[[gnu::target("avx2,fma")]] void write_by_shard_avx2(SparseRows genes, std::int64_t first, std::int64_t last,
                                                     std::int64_t rows, std::int64_t shards, float const* upstream,
                                                     std::int64_t out, float* gradient) {
  write_by_shard_any(genes, first, last, rows, shards, upstream, out, gradient);
}
#endif

template <typename Weight>
void multiply_on_this_cpu(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes,
                          Weight const* weight, float const* bias, std::int64_t out, float* result) {
#if defined(__x86_64__)
  if (width_of_cpu() == Width::avx512) return multiply_avx512(cells, first, last, genes, weight, bias, out, result);
  if (width_of_cpu() == Width::avx2) return multiply_avx2(cells, first, last, genes, weight, bias, out, result);
#endif
  multiply_any(cells, first, last, genes, weight, bias, out, result);
}

}  // namespace

void multiply(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes, float const* weight,
              float const* bias, std::int64_t out, float* result) {
  multiply_on_this_cpu(cells, first, last, genes, weight, bias, out, result);
}

void multiply(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes, std::uint32_t const* weight,
              float const* bias, std::int64_t out, float* result) {
#if defined(__x86_64__)
  if (multiplies_pairs()) return multiply_pairs(cells, first, last, genes, weight, bias, out, result);
#endif
  multiply_on_this_cpu(cells, first, last, genes, weight, bias, out, result);
}

void interleave(float const* weight, std::int64_t genes, std::int64_t out, std::uint32_t* words) {
#if defined(__x86_64__)
  bool const for_pairs = multiplies_pairs();
#else
  bool const for_pairs = false;
#endif
  for (std::int64_t block = 0; block < genes * out / (2 * lane_count); ++block) {
    float const* const from = weight + block * 2 * lane_count;
    for (std::int64_t j = 0; j < lane_count; ++j) {
      std::int64_t const neighbour = j / 4 * 4 + j % 2 * 2 + (j % 4 > 1 ? lane_count : 0);
      float const low = from[for_pairs ? neighbour : j], high = from[for_pairs ? neighbour + 1 : j + lane_count];
      words[block * lane_count + j] = half(low) | half(high) << 16;
    }
  }
}

void accumulate(SparseRows genes, std::int64_t first, std::int64_t last, float const* upstream, std::int64_t out,
                float* gradient) {
#if defined(__x86_64__)
  if (width_of_cpu() == Width::avx512) return accumulate_avx512(genes, first, last, upstream, out, gradient);
  if (width_of_cpu() == Width::avx2) return accumulate_avx2(genes, first, last, upstream, out, gradient);
#endif
  accumulate_any(genes, first, last, upstream, out, gradient);
}

void write_by_shard(SparseRows genes, std::int64_t first, std::int64_t last, std::int64_t rows, std::int64_t shards,
                    float const* upstream, std::int64_t out, float* gradient) {
#if defined(__x86_64__)
  if (width_of_cpu() == Width::avx512)
    return write_by_shard_avx512(genes, first, last, rows, shards, upstream, out, gradient);
  if (width_of_cpu() == Width::avx2)
    return write_by_shard_avx2(genes, first, last, rows, shards, upstream, out, gradient);
#endif
  write_by_shard_any(genes, first, last, rows, shards, upstream, out, gradient);
}

}  // namespace retort::kernel
