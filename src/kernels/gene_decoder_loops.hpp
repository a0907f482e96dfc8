// The inner loops of gene_decoder, compiled once for each vector width that a CPU may have.
#pragma once

#include <cstdint>

#include "retort/kernels/gene_lanes.hpp"

namespace retort::kernel {

struct GeneDecoderSizes {
  std::int64_t cells, genes, width, heads, tokens, hidden, scores;
  float epsilon;
};

// A matrix in both orders, so that whatever is summed over, the numbers that a block of results needs lie side by side.
struct BothWays {
  float const *plain, *turned;
};

struct GeneDecoderInputs {
  float const *queries, *genes;  // [genes, width], queries times 1 / sqrt(width of a head)
  BothWays keys, values;         // [cells, tokens, width], turned [cells, width, tokens]
  BothWays out;                  // [width, width]
  float const *scale, *shift;    // [width]
  BothWays gates;                // [2 hidden, width]: w1 over w2
  BothWays direct;               // [scores, width]: scores of what enters the score layer
  BothWays last;                 // w3 [width, hidden] where a norm follows it; otherwise direct @ w3 [scores, hidden]
  float const* bias;             // [scores]
  bool head_norm;
};

// Where sums over all cells and genes lie in one array. Rows of matrices are padded; `lanes` are [rows, widest_vector],
// to be summed.
struct GeneDecoderSums {
  explicit GeneDecoderSums(GeneDecoderSizes const& n, bool head_norm)
      : out(0),
        gates(out + n.width * padded(n.width)),
        down(gates + 2 * n.hidden * padded(n.width)),
        scale(down + (head_norm ? n.hidden * padded(n.width) : 0)),
        shift(scale + n.width * widest_vector),
        direct(shift + n.width * widest_vector),
        through(direct + n.scores * n.width * widest_vector),
        end(through + (head_norm ? 0 : n.scores * n.hidden * widest_vector)) {}
  std::int64_t out, gates;    // [width, width], [2 hidden, width]
  std::int64_t down;          // with a head norm: w3 turned, [hidden, width]
  std::int64_t scale, shift;  // [width] lanes
  std::int64_t direct;        // [scores, width] lanes
  std::int64_t through;       // without a head norm: [scores, hidden] lanes
  std::int64_t end;
};

struct GeneDecoderGradients {
  float *queries, *genes;  // [genes, width], written
  float *keys, *values;    // [cells, width, padded(tokens)], added to
  float* sums;             // as GeneDecoderSums, added to
};

// scores [scores, cells, genes].
void decode_genes(GeneDecoderSizes const& sizes, GeneDecoderInputs const& inputs, float* scores);
// upstream: the gradient of scores.
void propagate_genes(GeneDecoderSizes const& sizes, GeneDecoderInputs const& inputs, float const* upstream,
                     GeneDecoderGradients const& gradients);

}  // namespace retort::kernel
