// The head of scLDM's decoder: what every gene reads from the few latent tokens of every cell, and the score it gives.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace retort {

// The weights behind the attention, as PyTorch's layers keep them [to, from].
struct GeneDecoderWeights {
  at::Tensor out;                     // [width, width]
  at::Tensor norm_scale, norm_shift;  // [width]
  at::Tensor w1, w2, w3;              // SwiGLU: [hidden, width] twice, [width, hidden]
  at::Tensor head_scale, head_shift;  // [width], of a norm before the scores, or none
  at::Tensor score, score_bias;       // [scores, width], [scores]
};

// For every cell and gene (methods 3.3, 3.4; scLDM's cross-attention block and head)
//
//   mixed = gene + out(attention(query; keys, values of the cell)),   done = mixed + w3(silu(w1 n) * w2 n) with n =
//   norm(mixed), scores = score(done) + score_bias, with a norm between where head_scale is given
//
// from queries [genes, width] (normed and projected, not scaled), the genes' rows [genes, width], and keys and values
// [cells, tokens, width]; heads are contiguous slices of the width. -> [scores, cells, genes], float32, differentiable
// in everything. Backward is by hand: it computes the block again, tile by tile, instead of keeping it. Without a head
// norm w3 and the score layer, both linear, are one product. On the CPU, by one thread; a score depends on its cell and
// gene alone, not on what else is in the call. Throws Failure(failed) when shapes disagree.
at::Tensor gene_decoder(at::Tensor const& queries, at::Tensor const& genes, at::Tensor const& keys,
                        at::Tensor const& values, std::int64_t heads, double epsilon,
                        GeneDecoderWeights const& weights);

}  // namespace retort
