#include "retort/distill/synthetic_set.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <span>

namespace retort {
namespace {
constexpr std::int64_t most_kept_cells = 256;  // whose graphs wait for a step; some ten arrays of genes each
}

SyntheticSet::SyntheticSet(Communicator const& ranks, Variant const& variant, Foundation& encoder,
                           std::vector<Chunk> const& chunks, CodeOptimiser optimiser,
                           std::function<at::Tensor(RowRange)> const& start)
    : ranks_(ranks), variant_(variant), encoder_(encoder), optimiser_(optimiser), rows_(chunks.back().rows.end) {
  for (auto const& chunk : chunks) {
    if (chunk.owner != ranks.rank()) continue;
    at::Tensor const codes = start(chunk.rows);
    own_.push_back({&chunk, codes, at::zeros_like(codes), optimiser.adam ? at::zeros_like(codes) : at::Tensor()});
  }
}

SyntheticSet::Forward SyntheticSet::forward(bool with_cells) {
  std::int64_t rows = 0;
  bool keep = !variant_.codes_are_features;
  for (auto const& own : own_) {
    rows += own.chunk->rows.size();
    keep = keep && own.chunk->pieces.size() == 1;
  }
  if (!keep || rows > most_kept_cells) return {features(), with_cells ? cells() : at::Tensor()};
  std::vector<at::Tensor> of_features, of_cells;
  for (auto& own : own_) {
    own.graph = chunk_graph(variant_, encoder_, *own.chunk, own.codes);
    of_features.push_back(own.graph->features.detach());
    of_cells.push_back(own.graph->cells.detach());
  }
  return {gathered(of_features), with_cells ? gathered(of_cells) : at::Tensor()};
}

void SyntheticSet::step(ChunkMatch const& match, double rate) {
  ++steps_;
  for (auto& own : own_) {
    move(
        own,
        two_step_gradient(variant_, encoder_, *own.chunk, own.codes, match, own.graph ? &*own.graph : nullptr).gradient,
        rate);
    own.graph.reset();
  }
}

void SyntheticSet::move(Own& own, at::Tensor const& gradient, double rate) const {
  at::NoGradGuard no_graph;
  if (optimiser_.adam) {
    constexpr double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
    double const bias1 = 1 - std::pow(beta1, steps_), bias2 = 1 - std::pow(beta2, steps_);
    own.first_moment.mul_(beta1).add_(gradient, 1 - beta1);
    own.second_moment.mul_(beta2).addcmul_(gradient, gradient, 1 - beta2);
    own.codes.addcdiv_(own.first_moment, (own.second_moment / bias2).sqrt_().add_(epsilon), -rate / bias1);
  } else {
    own.first_moment.mul_(optimiser_.momentum).add_(gradient);
    own.codes.sub_(own.first_moment, rate);
  }
  if (optimiser_.stay_positive) own.codes.clamp_min_(0);
  if (optimiser_.renormalise) own.codes.div_(own.codes.norm(2, {1}, true).clamp_min(1e-12));
}

at::Tensor SyntheticSet::gathered(std::vector<at::Tensor> const& of_chunks) const {
  std::vector<float> mine;
  for (auto const& tensor : of_chunks) {
    at::Tensor const whole = tensor.contiguous();
    mine.insert(mine.end(), whole.const_data_ptr<float>(), whole.const_data_ptr<float>() + whole.numel());
  }
  // Ranks own neighbouring chunks, so rank order is row order.
  auto const all = ranks_.gather(std::span<float const>(mine));
  return at::tensor(all, at::kFloat).view({rows_, -1});
}

at::Tensor SyntheticSet::features() const {
  std::vector<at::Tensor> parts;
  for (auto const& own : own_) parts.push_back(chunk_features(variant_, encoder_, *own.chunk, own.codes));
  return gathered(parts);
}

at::Tensor SyntheticSet::features_of_cells() const {
  at::NoGradGuard no_graph;
  return variant_.codes_are_features ? encoder_.encode(cells()) : features();
}

at::Tensor SyntheticSet::cells() const {
  at::NoGradGuard no_graph;
  std::vector<at::Tensor> parts;
  for (auto const& own : own_)
    for (auto const& piece : own.chunk->pieces)
      parts.push_back(variant_.cells(own.codes.narrow(0, piece.begin - own.chunk->rows.begin, piece.size()),
                                     chunk_classes(*own.chunk, piece)));
  return gathered(parts);
}

at::Tensor SyntheticSet::codes() const {
  std::vector<at::Tensor> parts;
  for (auto const& own : own_) parts.push_back(own.codes);
  return gathered(parts);
}

std::vector<at::Tensor> SyntheticSet::keep() const {
  std::vector<at::Tensor> kept;
  for (auto const& own : own_) kept.push_back(own.codes.clone());
  return kept;
}

void SyntheticSet::put_back(std::vector<at::Tensor> const& kept) {
  for (std::size_t i = 0; i < own_.size(); ++i) {
    own_[i].codes.copy_(kept[i]);
    own_[i].graph.reset();
  }
}

std::vector<at::Tensor> SyntheticSet::own_part(at::Tensor const& whole) const {
  std::vector<at::Tensor> parts;
  for (auto const& own : own_) parts.push_back(whole.narrow(0, own.chunk->rows.begin, own.chunk->rows.size()).clone());
  return parts;
}

std::map<std::string, at::Tensor> SyntheticSet::state() const {
  std::vector<at::Tensor> first, second;
  for (auto const& own : own_) {
    first.push_back(own.first_moment);
    if (optimiser_.adam) second.push_back(own.second_moment);
  }
  std::map<std::string, at::Tensor> state{
      {"codes", codes()}, {"first_moment", gathered(first)}, {"steps", at::full({1}, steps_, at::kLong)}};
  if (optimiser_.adam) state["second_moment"] = gathered(second);
  return state;
}

void SyntheticSet::restore(std::map<std::string, at::Tensor> const& state) {
  steps_ = state.at("steps").item<std::int64_t>();
  for (auto& own : own_) {
    RowRange const rows = own.chunk->rows;
    own.codes.copy_(state.at("codes").narrow(0, rows.begin, rows.size()));
    own.graph.reset();
    own.first_moment.copy_(state.at("first_moment").narrow(0, rows.begin, rows.size()));
    if (optimiser_.adam) own.second_moment.copy_(state.at("second_moment").narrow(0, rows.begin, rows.size()));
  }
}

}  // namespace retort
