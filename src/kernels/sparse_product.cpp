#include "sparse_product.hpp"

#include <bit>
#include <cstddef>
#include <cstring>
#include <vector>

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
constexpr std::int64_t genes_of_a_group = sizeof(Weight) == sizeof(float) ? 64 : 256;

// into[column ...] += sum of value * rows[index][column ...] over one run of non-zeros, N x 16 columns at once.
template <std::size_t N>
[[gnu::always_inline]] inline void add_run(SparseRows const& run, std::int64_t begin, std::int64_t end, float const* rows,
                                           std::int64_t width, std::int64_t column, float* into, bool onto_zero) {
  auto* const target = reinterpret_cast<Lanes*>(into + column);
  Lanes sum[N];
  for (std::size_t j = 0; j < N; ++j) sum[j] = onto_zero ? Lanes{} : target[j];
  for (std::int64_t k = begin; k < end; ++k) {
    auto const* const row = reinterpret_cast<Lanes const*>(rows + run.index[k] * width + column);
    Lanes const value = run.value[k] - Lanes{};
    for (std::size_t j = 0; j < N; ++j) sum[j] += value * row[j];
  }
  for (std::size_t j = 0; j < N; ++j) target[j] = onto_zero ? target[j] + sum[j] : sum[j];
}

// The same for a weight of bfloat16: a row is `width / 2` words.
template <std::size_t N>
[[gnu::always_inline]] inline void add_run(SparseRows const& run, std::int64_t begin, std::int64_t end, std::uint32_t const* rows,
                                           std::int64_t width, std::int64_t column, float* into) {
  auto* const target = reinterpret_cast<Lanes*>(into + column);
  Lanes sum[N];
  for (std::size_t j = 0; j < N; ++j) sum[j] = target[j];
  for (std::int64_t k = begin; k < end; ++k) {
    auto const* const row = reinterpret_cast<Words const*>(rows + (run.index[k] * width + column) / 2);
    Lanes const value = run.value[k] - Lanes{};
    for (std::size_t j = 0; j < N / 2; ++j) {
      Words const low = row[j] << 16, high = row[j] & 0xFFFF0000u;
      sum[2 * j] += value * reinterpret_cast<Lanes const&>(low);
      sum[2 * j + 1] += value * reinterpret_cast<Lanes const&>(high);
    }
  }
  for (std::size_t j = 0; j < N; ++j) target[j] = sum[j];
}

// `onto_zero`: the run's sum is formed from zero and added once; otherwise terms are added to what is there.
[[gnu::always_inline]] inline void add_all_columns(SparseRows const& run, std::int64_t begin, std::int64_t end,
                                                   float const* rows, std::int64_t width, float* into, bool onto_zero) {
  std::int64_t column = 0;
  for (; column + 16 * lane_count <= width; column += 16 * lane_count) add_run<16>(run, begin, end, rows, width, column, into, onto_zero);
  for (; column + 4 * lane_count <= width; column += 4 * lane_count) add_run<4>(run, begin, end, rows, width, column, into, onto_zero);
  for (; column + lane_count <= width; column += lane_count) add_run<1>(run, begin, end, rows, width, column, into, onto_zero);
  for (; column < width; ++column) {
    float sum = onto_zero ? 0.0f : into[column];
    for (std::int64_t k = begin; k < end; ++k) sum += run.value[k] * rows[run.index[k] * width + column];
    into[column] = onto_zero ? into[column] + sum : sum;
  }
}

[[gnu::always_inline]] inline void add_to_all_columns(SparseRows const& run, std::int64_t begin, std::int64_t end, float const* rows, std::int64_t width, float* into) {
  add_all_columns(run, begin, end, rows, width, into, false);
}
[[gnu::always_inline]] inline void add_to_all_columns(SparseRows const& run, std::int64_t begin, std::int64_t end, std::uint32_t const* rows, std::int64_t width, float* into) {
  std::int64_t column = 0;
  for (; column + 16 * lane_count <= width; column += 16 * lane_count) add_run<16>(run, begin, end, rows, width, column, into);
  for (; column + 2 * lane_count <= width; column += 2 * lane_count) add_run<2>(run, begin, end, rows, width, column, into);
}

template <typename Weight>
[[gnu::always_inline]] inline void multiply_any(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes,
                                                Weight const* weight, float const* bias, std::int64_t out, float* result) {
  for (std::int64_t i = first; i < last; ++i) std::memcpy(result + i * out, bias, static_cast<std::size_t>(out) * sizeof(float));
  std::vector<std::int64_t> reached(cells.begin + first, cells.begin + last);
  for (std::int64_t group = genes_of_a_group<Weight>;; group += genes_of_a_group<Weight>) {
    for (std::int64_t i = first; i < last; ++i) {
      std::int64_t& next = reached[static_cast<std::size_t>(i - first)];
      std::int64_t const begin = next;
      while (next < cells.begin[i + 1] && cells.index[next] < group) ++next;
      if (begin < next) add_to_all_columns(cells, begin, next, weight, out, result + i * out);
    }
    if (group >= genes) break;
  }
}

[[gnu::always_inline]] inline void accumulate_any(SparseRows genes, std::int64_t first, std::int64_t last,
                                                  float const* upstream, std::int64_t out, float* gradient) {
  for (std::int64_t g = first; g < last; ++g) {
    if (genes.begin[g] < genes.begin[g + 1]) add_all_columns(genes, genes.begin[g], genes.begin[g + 1], upstream, out, gradient + g * out, true);
  }
}

[[gnu::always_inline]] inline void write_by_shard_any(SparseRows genes, std::int64_t first, std::int64_t last, std::int64_t rows, std::int64_t shards,
                                                      float const* upstream, std::int64_t out, float* gradient) {
  std::vector<float> others(static_cast<std::size_t>((shards - 1) * out));  // of the shards past the first, whose sum is formed in place
  for (std::int64_t g = first; g < last; ++g) {
    auto const sum_of = [&](std::int64_t s) { return s ? others.data() + (s - 1) * out : gradient + g * out; };
    std::int64_t next = genes.begin[g];
    for (std::int64_t s = 0; s < shards; ++s) {
      std::int64_t const begin = next;
      while (next < genes.begin[g + 1] && genes.index[next] < (s + 1) * rows) ++next;
      std::memset(sum_of(s), 0, static_cast<std::size_t>(out) * sizeof(float));
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
enum class Width { avx512, avx2, any };
Width width_of_cpu() {
  static Width const width = __builtin_cpu_supports("avx512f")                                     ? Width::avx512
                             : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Width::avx2
                                                                                               : Width::any;
  return width;
}

template <typename Weight>
[[gnu::target("avx512f")]] void multiply_avx512(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes,
                                                Weight const* weight, float const* bias, std::int64_t out, float* result) {
  multiply_any(cells, first, last, genes, weight, bias, out, result);
}
template <typename Weight>
[[gnu::target("avx2,fma")]] void multiply_avx2(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes,
                                               Weight const* weight, float const* bias, std::int64_t out, float* result) {
  multiply_any(cells, first, last, genes, weight, bias, out, result);
}
[[gnu::target("avx512f")]] void accumulate_avx512(SparseRows genes, std::int64_t first, std::int64_t last, float const* upstream,
                                                  std::int64_t out, float* gradient) {
  accumulate_any(genes, first, last, upstream, out, gradient);
}
[[gnu::target("avx2,fma")]] void accumulate_avx2(SparseRows genes, std::int64_t first, std::int64_t last, float const* upstream,
                                                 std::int64_t out, float* gradient) {
  accumulate_any(genes, first, last, upstream, out, gradient);
}
[[gnu::target("avx512f")]] void write_by_shard_avx512(SparseRows genes, std::int64_t first, std::int64_t last, std::int64_t rows, std::int64_t shards,
                                                      float const* upstream, std::int64_t out, float* gradient) {
  write_by_shard_any(genes, first, last, rows, shards, upstream, out, gradient);
}
[[gnu::target("avx2,fma")]] void write_by_shard_avx2(SparseRows genes, std::int64_t first, std::int64_t last, std::int64_t rows, std::int64_t shards,
                                                     float const* upstream, std::int64_t out, float* gradient) {
  write_by_shard_any(genes, first, last, rows, shards, upstream, out, gradient);
}
#endif

template <typename Weight>
void multiply_on_this_cpu(SparseRows cells, std::int64_t first, std::int64_t last, std::int64_t genes, Weight const* weight,
                          float const* bias, std::int64_t out, float* result) {
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
  multiply_on_this_cpu(cells, first, last, genes, weight, bias, out, result);
}

void interleave(float const* weight, std::int64_t genes, std::int64_t out, std::uint32_t* words) {
  auto const rounded = [](float value) {  // to the nearest, ties to even; weights are finite
    auto const bits = std::bit_cast<std::uint32_t>(value);
    return (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  };
  for (std::int64_t block = 0; block < genes * out / (2 * lane_count); ++block) {
    float const* const from = weight + block * 2 * lane_count;
    for (std::int64_t j = 0; j < lane_count; ++j) words[block * lane_count + j] = rounded(from[j]) | rounded(from[j + lane_count]) << 16;
  }
}

void accumulate(SparseRows genes, std::int64_t first, std::int64_t last, float const* upstream, std::int64_t out, float* gradient) {
#if defined(__x86_64__)
  if (width_of_cpu() == Width::avx512) return accumulate_avx512(genes, first, last, upstream, out, gradient);
  if (width_of_cpu() == Width::avx2) return accumulate_avx2(genes, first, last, upstream, out, gradient);
#endif
  accumulate_any(genes, first, last, upstream, out, gradient);
}

void write_by_shard(SparseRows genes, std::int64_t first, std::int64_t last, std::int64_t rows, std::int64_t shards, float const* upstream, std::int64_t out,
                    float* gradient) {
#if defined(__x86_64__)
  if (width_of_cpu() == Width::avx512) return write_by_shard_avx512(genes, first, last, rows, shards, upstream, out, gradient);
  if (width_of_cpu() == Width::avx2) return write_by_shard_avx2(genes, first, last, rows, shards, upstream, out, gradient);
#endif
  write_by_shard_any(genes, first, last, rows, shards, upstream, out, gradient);
}

}  // namespace retort::kernel
