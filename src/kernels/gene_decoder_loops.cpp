#include "gene_decoder_loops.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "retort/kernels/vector_math.hpp"
#include "retort/run/index.hpp"

namespace retort::kernel {
namespace {

// What the passes of a tile leave for each other. Each array is [rows][tile], rows padded for `turn`.
struct Scratch {
  explicit Scratch(GeneDecoderSizes const& n) {
    std::int64_t const attention = n.heads * n.tokens + widest_vector;
    std::int64_t rows = 0;
    std::pair<float**, std::int64_t> const wanted[] = {{&queries, n.width},
                                                       {&genes, n.width},
                                                       {&shares, attention},
                                                       {&inverse, n.heads},
                                                       {&read, n.width},
                                                       {&mixed, n.width},
                                                       {&unit, n.width},
                                                       {&root, 1},
                                                       {&normed, n.width},
                                                       {&gated, 2 * n.hidden},
                                                       {&hidden, n.hidden},
                                                       {&done, n.width},
                                                       {&done_root, 1},
                                                       {&scores, n.scores},
                                                       {&by_hidden, n.hidden},
                                                       {&by_done, n.width},
                                                       {&by_normed, n.width},
                                                       {&by_mixed, n.width},
                                                       {&by_read, n.width},
                                                       {&pulls, attention},
                                                       {&by_queries, n.width},
                                                       {&by_genes, n.width},
                                                       {&turned, std::max(padded(n.width), padded(n.tokens))}};
    for (auto const& [array, count] : wanted) rows += padded(count);
    memory.resize(index(rows * tile + widest_vector));
    float* next = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) /
                                      sizeof(float);  // a vector of 64 bytes lies in one line
    for (auto const& [array, count] : wanted) *array = next, next += padded(count) * tile;
  }
  float *queries, *genes;  // of the tile, for all cells
  float *shares, *inverse, *read,
      *mixed;  // attention's exponentials, 1 / their sums, its result, with what is added to it
  float *unit, *root, *normed, *gated,
      *hidden;                       // LayerNorm before and after scale and shift, w1 and w2 of it, silu(w1) * w2
  float *done, *done_root, *scores;  // with a head norm: the end of the block, normalised
  float *by_hidden, *by_done, *by_normed, *by_mixed, *by_read, *pulls;  // gradients; pulls: of the logits
  float *by_queries, *by_genes;                                         // gradients, summed over cells
  float* turned;
  std::vector<float> memory;
};

void read_tile(float const* from, std::int64_t width, std::int64_t count, float* to) {
  for (std::int64_t j = 0; j < width; ++j)
    for (std::int64_t gene = 0; gene < tile; ++gene) to[j * tile + gene] = gene < count ? from[gene * width + j] : 0;
}
void write_tile(float const* from, std::int64_t width, std::int64_t count, float* to) {
  for (std::int64_t gene = 0; gene < count; ++gene)
    for (std::int64_t j = 0; j < width; ++j) to[gene * width + j] = from[j * tile + gene];
}

// One tile of one cell as far as w1 and w2.
template <class Cpu>
[[gnu::always_inline]] inline void begin_block(GeneDecoderSizes const& n, GeneDecoderInputs const& in,
                                               std::int64_t cell, Scratch const& s) {
  std::int64_t const head = n.width / n.heads, of_cell = cell * n.tokens * n.width;
  for (std::int64_t h = 0; h < n.heads; ++h)
    linear<Cpu>(in.keys.turned + of_cell + h * head * n.tokens, n.tokens, n.tokens, head, s.queries + h * head * tile,
                nullptr, s.shares + h * n.tokens * tile);
  soften<Cpu>(s.shares, n.heads, n.tokens, s.inverse);
  for (std::int64_t h = 0; h < n.heads; ++h) {
    linear<Cpu>(in.values.plain + of_cell + h * head, n.width, head, n.tokens, s.shares + h * n.tokens * tile, nullptr,
                s.read + h * head * tile);
    for (std::int64_t j = h * head; j < (h + 1) * head; ++j)
      for (std::int64_t gene = 0; gene < tile; gene += lane_count<Cpu>)
        lanes_at<Cpu>(s.read + j * tile + gene) *= lanes_at<Cpu>(s.inverse + h * tile + gene);
  }
  linear<Cpu>(in.out.turned, n.width, n.width, n.width, s.read, s.genes, s.mixed);
  normalise<Cpu>(s.mixed, n.width, n.epsilon, s.unit, s.root);
  for (std::int64_t j = 0; j < n.width; ++j)
    for (std::int64_t gene = 0; gene < tile; gene += lane_count<Cpu>)
      lanes_at<Cpu>(s.normed + j * tile + gene) = lanes_at<Cpu>(s.unit + j * tile + gene) * in.scale[j] + in.shift[j];
  linear<Cpu>(in.gates.turned, 2 * n.hidden, 2 * n.hidden, n.width, s.normed, nullptr, s.gated);
}

// silu(w1) * w2.
template <class Cpu>
[[gnu::always_inline]] inline void take_hidden(GeneDecoderSizes const& n, Scratch const& s) {
  using Lanes = typename Cpu::Lanes;
  for (std::int64_t place = 0; place < n.hidden * tile; place += lane_count<Cpu>) {
    Lanes const a = lanes_at<Cpu>(s.gated + place);
    Lanes e = -a;
    exponentiate<Lanes, typename Cpu::Words>(e);
    lanes_at<Cpu>(s.hidden + place) = a * lanes_at<Cpu>(s.gated + n.hidden * tile + place) / (1.0F + e);
  }
}

// The same again, with the gradients of w1 and w2 in their places.
template <class Cpu>
[[gnu::always_inline]] inline void propagate_hidden(GeneDecoderSizes const& n, Scratch const& s) {
  using Lanes = typename Cpu::Lanes;
  for (std::int64_t place = 0; place < n.hidden * tile; place += lane_count<Cpu>) {
    Lanes &of_first = lanes_at<Cpu>(s.gated + place), &of_second = lanes_at<Cpu>(s.gated + n.hidden * tile + place);
    Lanes const a = of_first, b = of_second, gradient = lanes_at<Cpu>(s.by_hidden + place);
    Lanes e = -a;
    exponentiate<Lanes, typename Cpu::Words>(e);
    Lanes const sigmoid = 1.0F / (1.0F + e), gate = a * sigmoid;
    lanes_at<Cpu>(s.hidden + place) = gate * b;
    of_first = gradient * b * sigmoid * (1.0F + a - gate);
    of_second = gradient * gate;
  }
}

// The end of the block, and its norm.
template <class Cpu>
[[gnu::always_inline]] inline void normalise_head(GeneDecoderSizes const& n, GeneDecoderInputs const& in,
                                                  Scratch const& s) {
  linear<Cpu>(in.last.turned, n.width, n.width, n.hidden, s.hidden, s.mixed, s.done);
  normalise<Cpu>(s.done, n.width, n.epsilon, s.done, s.done_root);
}

template <class Cpu>
[[gnu::always_inline]] inline void decode_any(GeneDecoderSizes const& n, GeneDecoderInputs const& in, float* scores) {
  Scratch const s(n);
  for (std::int64_t first = 0; first < n.genes; first += tile) {
    auto const count = std::min(tile, n.genes - first);
    read_tile(in.queries + first * n.width, n.width, count, s.queries);
    read_tile(in.genes + first * n.width, n.width, count, s.genes);
    for (std::int64_t cell = 0; cell < n.cells; ++cell) {
      begin_block<Cpu>(n, in, cell, s);
      take_hidden<Cpu>(n, s);
      for (std::int64_t i = 0; i < n.scores; ++i) std::fill_n(s.scores + i * tile, tile, in.bias[i]);
      if (in.head_norm)
        normalise_head<Cpu>(n, in, s);
      else
        linear<Cpu>(in.last.turned, n.scores, n.scores, n.hidden, s.hidden, s.scores, s.scores);
      linear<Cpu>(in.direct.turned, n.scores, n.scores, n.width, in.head_norm ? s.done : s.mixed, s.scores, s.scores);
      for (std::int64_t i = 0; i < n.scores; ++i)
        std::copy_n(s.scores + i * tile, count, scores + (i * n.cells + cell) * n.genes + first);
    }
  }
}

// From the gradient of the normed input of w1 and w2 back to queries, keys and values.
template <class Cpu>
[[gnu::always_inline]] inline void propagate_attention(GeneDecoderSizes const& n, GeneDecoderInputs const& in,
                                                       std::int64_t cell, Scratch const& s,
                                                       GeneDecoderGradients const& into) {
  using Lanes = typename Cpu::Lanes;
  std::int64_t const head = n.width / n.heads, of_cell = cell * n.tokens * n.width, lanes = padded(n.tokens);
  linear<Cpu>(in.out.plain, n.width, n.width, n.width, s.by_mixed, nullptr, s.by_read);
  for (std::int64_t h = 0; h < n.heads; ++h) {
    float *const shares = s.shares + h * n.tokens * tile, *const pulls = s.pulls + h * n.tokens * tile,
                 *const by_read = s.by_read + h * head * tile;
    float* const by_values = into.values + (cell * n.width + h * head) * lanes;
    float* const by_keys = into.keys + (cell * n.width + h * head) * lanes;
    for (std::int64_t j = 0; j < head; ++j)
      for (std::int64_t gene = 0; gene < tile; gene += lane_count<Cpu>)
        lanes_at<Cpu>(by_read + j * tile + gene) *= lanes_at<Cpu>(s.inverse + h * tile + gene);
    Cpu::turn(shares, n.tokens, s.turned, lanes);
    add_outer<Cpu>(by_read, head, s.turned, lanes, lanes, by_values);
    linear<Cpu>(in.values.turned + of_cell + h * head * n.tokens, n.tokens, n.tokens, head, by_read, nullptr, pulls);
    for (std::int64_t gene = 0; gene < tile; gene += lane_count<Cpu>) {
      Lanes inner = {};
      for (std::int64_t j = 0; j < head; ++j)
        inner += lanes_at<Cpu>(s.read + (h * head + j) * tile + gene) * lanes_at<Cpu>(by_read + j * tile + gene);
      for (std::int64_t t = 0; t < n.tokens; ++t)
        lanes_at<Cpu>(pulls + t * tile + gene) =
            lanes_at<Cpu>(shares + t * tile + gene) * (lanes_at<Cpu>(pulls + t * tile + gene) - inner);
    }
    Cpu::turn(pulls, n.tokens, s.turned, lanes);
    add_outer<Cpu>(s.queries + h * head * tile, head, s.turned, lanes, lanes, by_keys);
    float* const by_queries = s.by_queries + h * head * tile;
    linear<Cpu>(in.keys.plain + of_cell + h * head, n.width, head, n.tokens, pulls, by_queries, by_queries);
  }
}

template <class Cpu>
[[gnu::always_inline]] inline void propagate_cell(GeneDecoderSizes const& n, GeneDecoderInputs const& in,
                                                  GeneDecoderSums const& at, std::int64_t cell, Scratch const& s,
                                                  float* sums, GeneDecoderGradients const& into) {
  using Lanes = typename Cpu::Lanes;
  std::int64_t const lanes = padded(n.width);
  begin_block<Cpu>(n, in, cell, s);
  linear<Cpu>(in.direct.plain, n.width, n.width, n.scores, s.scores, nullptr, s.by_done);
  if (in.head_norm) {
    take_hidden<Cpu>(n, s);
    normalise_head<Cpu>(n, in, s);
    add_inner<Cpu>(s.done, n.width, s.scores, n.scores, sums + at.direct);
    add_through_norm<Cpu>(s.by_done, s.done, s.done_root, n.width, nullptr, s.by_done);
    Cpu::turn(s.by_done, n.width, s.turned, lanes);
    add_outer<Cpu>(s.hidden, n.hidden, s.turned, lanes, lanes, sums + at.down);
  } else {
    add_inner<Cpu>(s.mixed, n.width, s.scores, n.scores, sums + at.direct);
  }
  linear<Cpu>(in.last.plain, n.hidden, n.hidden, in.head_norm ? n.width : n.scores, in.head_norm ? s.by_done : s.scores,
              nullptr, s.by_hidden);
  propagate_hidden<Cpu>(n, s);
  if (!in.head_norm) add_inner<Cpu>(s.hidden, n.hidden, s.scores, n.scores, sums + at.through);

  Cpu::turn(s.normed, n.width, s.turned, lanes);
  add_outer<Cpu>(s.gated, 2 * n.hidden, s.turned, lanes, lanes, sums + at.gates);
  linear<Cpu>(in.gates.plain, n.width, n.width, 2 * n.hidden, s.gated, nullptr, s.by_normed);
  for (std::int64_t j = 0; j < n.width; ++j) {
    Lanes &scale = lanes_at<Cpu>(sums + at.scale + j * widest_vector),
          &shift = lanes_at<Cpu>(sums + at.shift + j * widest_vector);
    Lanes of_scale = scale, of_shift = shift;
    for (std::int64_t gene = 0; gene < tile; gene += lane_count<Cpu>) {
      Lanes& gradient = lanes_at<Cpu>(s.by_normed + j * tile + gene);
      of_shift += gradient;
      of_scale += gradient * lanes_at<Cpu>(s.unit + j * tile + gene);
      gradient *= in.scale[j];
    }
    scale = of_scale, shift = of_shift;
  }
  add_through_norm<Cpu>(s.by_normed, s.unit, s.root, n.width, s.by_done, s.by_mixed);
  for (std::int64_t place = 0; place < n.width * tile; place += lane_count<Cpu>)
    lanes_at<Cpu>(s.by_genes + place) += lanes_at<Cpu>(s.by_mixed + place);
  Cpu::turn(s.read, n.width, s.turned, lanes);
  add_outer<Cpu>(s.by_mixed, n.width, s.turned, lanes, lanes, sums + at.out);
  propagate_attention<Cpu>(n, in, cell, s, into);
}

template <class Cpu>
[[gnu::always_inline]] inline void propagate_any(GeneDecoderSizes const& n, GeneDecoderInputs const& in,
                                                 float const* upstream, GeneDecoderGradients const& into) {
  Scratch const s(n);
  GeneDecoderSums const at(n, in.head_norm);
  std::vector<float> sums(index(at.end));  // of one tile of genes: sums of sums lose less than one long sum
  for (std::int64_t first = 0; first < n.genes; first += tile) {
    auto const count = std::min(tile, n.genes - first);
    read_tile(in.queries + first * n.width, n.width, count, s.queries);
    read_tile(in.genes + first * n.width, n.width, count, s.genes);
    std::fill_n(s.by_queries, n.width * tile, 0.0F);
    std::fill_n(s.by_genes, n.width * tile, 0.0F);
    std::fill(sums.begin(), sums.end(), 0.0F);
    std::fill_n(s.scores, n.scores * tile, 0.0F);  // genes past the last have no gradient
    for (std::int64_t cell = 0; cell < n.cells; ++cell) {
      for (std::int64_t i = 0; i < n.scores; ++i)
        std::copy_n(upstream + (i * n.cells + cell) * n.genes + first, count, s.scores + i * tile);
      propagate_cell<Cpu>(n, in, at, cell, s, sums.data(), into);
    }
    write_tile(s.by_queries, n.width, count, into.queries + first * n.width);
    write_tile(s.by_genes, n.width, count, into.genes + first * n.width);
    for (std::size_t i = 0; i < sums.size(); ++i) into.sums[i] += sums[i];
  }
}

// One source for each kind of register; a block of a product has as many rows as fit into the registers beside the
// operands.
#define RETORT_GENE_DECODER(NAME, BYTES, ROWS, TARGET)                                                         \
  struct NAME {                                                                                                \
    using Lanes = float __attribute__((vector_size(BYTES), aligned(4), may_alias));                            \
    using Words = std::int32_t __attribute__((vector_size(BYTES), aligned(4), may_alias));                     \
    static constexpr std::int64_t rows = ROWS;                                                                 \
    template <bool apart>                                                                                      \
    TARGET static void multiply(Product const& p) {                                                            \
      multiply_any<NAME, apart>(p);                                                                            \
    }                                                                                                          \
    TARGET static void turn(float const* from, std::int64_t count, float* to, std::int64_t to_row) {           \
      turn_any<NAME>(from, count, to, to_row, std::make_index_sequence<BYTES / 4>());                          \
    }                                                                                                          \
    TARGET static void decode(GeneDecoderSizes const& sizes, GeneDecoderInputs const& inputs, float* scores) { \
      decode_any<NAME>(sizes, inputs, scores);                                                                 \
    }                                                                                                          \
    TARGET static void propagate(GeneDecoderSizes const& sizes, GeneDecoderInputs const& inputs,               \
                                 float const* upstream, GeneDecoderGradients const& gradients) {               \
      propagate_any<NAME>(sizes, inputs, upstream, gradients);                                                 \
    }                                                                                                          \
  };
RETORT_GENE_DECODER(AnyCpu, 16, 4, )
#if defined(__x86_64__)
RETORT_GENE_DECODER(Avx2, 32, 4, [[gnu::target("avx2,fma")]])
RETORT_GENE_DECODER(Avx512, 64, 8, [[gnu::target("avx512f")]])
bool const has_avx512 = __builtin_cpu_supports("avx512f"),
           has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif

}  // namespace

void decode_genes(GeneDecoderSizes const& sizes, GeneDecoderInputs const& inputs, float* scores) {
#if defined(__x86_64__)
  if (has_avx512) return Avx512::decode(sizes, inputs, scores);
  if (has_avx2) return Avx2::decode(sizes, inputs, scores);
#endif
  AnyCpu::decode(sizes, inputs, scores);
}

void propagate_genes(GeneDecoderSizes const& sizes, GeneDecoderInputs const& inputs, float const* upstream,
                     GeneDecoderGradients const& gradients) {
#if defined(__x86_64__)
  if (has_avx512) return Avx512::propagate(sizes, inputs, upstream, gradients);
  if (has_avx2) return Avx2::propagate(sizes, inputs, upstream, gradients);
#endif
  AnyCpu::propagate(sizes, inputs, upstream, gradients);
}

}  // namespace retort::kernel
