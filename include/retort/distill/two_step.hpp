// Two-step back-propagation (methods 1.4.7): first the loss by the features, then the features by the codes.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "retort/distill/chunks.hpp"
#include "retort/distill/variant.hpp"
#include "retort/kernels/linear_head_gradient.hpp"
#include "retort/models/foundation.hpp"

namespace retort {

// The loss of a chunk's features [rows, width] and its derivative.
using ChunkMatch = std::function<FeatureMatch(Chunk const&, at::Tensor const& features)>;

struct ChunkGradient {
  at::Tensor losses;    // [classes of the chunk]
  at::Tensor gradient;  // as the codes
};

// int64 [rows]: the class of each row of the chunk.
at::Tensor chunk_classes(Chunk const& chunk, RowRange rows);

// F(G(codes)) [rows, width] without a graph, piece by piece. Codes [chunk's rows, ...].
at::Tensor chunk_features(Variant const& variant, Foundation& encoder, Chunk const& chunk, at::Tensor const& codes);

// A chunk's cells and features as a graph that hangs on its codes, `leaf`.
struct ChunkGraph {
  at::Tensor leaf, cells, features;
};
// Of a chunk of one piece.
ChunkGraph chunk_graph(Variant const& variant, Foundation& encoder, Chunk const& chunk, at::Tensor const& codes);

// The derivative of the chunk's loss by its codes. A chunk of one piece keeps its graph between the steps; a larger one
// makes its features first without graphs, then rebuilds and back-propagates piece by piece, so that memory is one
// piece's. Both are exact. `made`: the chunk's graph at these codes, where the caller has it. Not collective.
ChunkGradient two_step_gradient(Variant const& variant, Foundation& encoder, Chunk const& chunk,
                                at::Tensor const& codes, ChunkMatch const& match, ChunkGraph const* made = nullptr);

}  // namespace retort
