#include "retort/distill/two_step.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

namespace retort {
namespace {

at::Tensor rows_of(at::Tensor const& codes, Chunk const& chunk, RowRange piece) {
  return codes.narrow(0, piece.begin - chunk.rows.begin, piece.size());
}

ChunkGraph build(Variant const& variant, Foundation& encoder, Chunk const& chunk, RowRange piece,
                 at::Tensor const& codes) {
  at::AutoGradMode with_graph(true);
  at::Tensor leaf = rows_of(codes, chunk, piece).detach().clone().requires_grad_(true);
  at::Tensor cells = variant.cells(leaf, chunk_classes(chunk, piece));
  return {leaf, cells, encoder.encode(cells)};
}

at::Tensor pull_back(ChunkGraph const& graph, at::Tensor const& by_features, at::Tensor const& by_cells) {
  if (!by_features.defined()) return torch::autograd::grad({graph.cells}, {graph.leaf}, {by_cells})[0];
  if (!by_cells.defined()) return torch::autograd::grad({graph.features}, {graph.leaf}, {by_features})[0];
  return torch::autograd::grad({graph.features, graph.cells}, {graph.leaf}, {by_features, by_cells})[0];
}

}  // namespace

at::Tensor chunk_classes(Chunk const& chunk, RowRange rows) {
  std::int64_t const spc = chunk.rows.size() / chunk.classes;
  return at::arange(rows.begin, rows.end, at::kLong).div_(spc, "floor");
}

at::Tensor chunk_features(Variant const& variant, Foundation& encoder, Chunk const& chunk, at::Tensor const& codes) {
  if (variant.codes_are_features) return codes;
  at::NoGradGuard no_graph;
  std::vector<at::Tensor> pieces;
  for (auto const& piece : chunk.pieces)
    pieces.push_back(encoder.encode(variant.cells(rows_of(codes, chunk, piece), chunk_classes(chunk, piece))));
  return at::cat(pieces);
}

ChunkGraph chunk_graph(Variant const& variant, Foundation& encoder, Chunk const& chunk, at::Tensor const& codes) {
  return build(variant, encoder, chunk, chunk.pieces[0], codes);
}

ChunkGradient two_step_gradient(Variant const& variant, Foundation& encoder, Chunk const& chunk,
                                at::Tensor const& codes, ChunkMatch const& match, ChunkGraph const* made) {
  if (variant.codes_are_features) {
    FeatureMatch const matched = match(chunk, codes);
    return {matched.losses, matched.gradient};
  }
  if (chunk.pieces.size() == 1) {
    ChunkGraph const graph = made ? *made : chunk_graph(variant, encoder, chunk, codes);
    FeatureMatch const matched = match(chunk, graph.features.detach());
    return {matched.losses, pull_back(graph, matched.gradient, matched.by_cells)};
  }
  FeatureMatch const matched = match(chunk, chunk_features(variant, encoder, chunk, codes));
  auto const of_piece = [&](at::Tensor const& derivative, RowRange piece) {
    return derivative.defined() ? rows_of(derivative, chunk, piece) : derivative;
  };
  std::vector<at::Tensor> pieces;
  for (auto const& piece : chunk.pieces)
    pieces.push_back(pull_back(build(variant, encoder, chunk, piece, codes), of_piece(matched.gradient, piece),
                               of_piece(matched.by_cells, piece)));
  return {matched.losses, at::cat(pieces)};
}

}  // namespace retort
