#include "retort/distill/real_side.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace retort {
namespace {
constexpr std::int64_t sampled_cells = 256;  // per class, as in dataset condensation's reference code
}  // namespace

RealSide::RealSide(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, double feature_scale,
                   RealCells const& cells, std::vector<std::string> const& matchings, Options const& options)
    : options_(options),
      classes_(real.classes()),
      width_(real.width()),
      feature_scale_(feature_scale),
      means_(class_means(ranks, plan, real, feature_scale)) {
  auto const any = [&](bool MatchingParts::*part) {
    return std::any_of(matchings.begin(), matchings.end(),
                       [&](auto const& name) { return matching_parts(name).*part; });
  };
  bool const gradients = any(&MatchingParts::gradients);
  if (gradients && options.encoder) {
    std::int64_t const cells_per_class = options.real_cells ? options.real_cells : sampled_cells;
    encoder_matching_.emplace(ranks, plan, *options.encoder, feature_scale, cells.read, cells.rows_by_class,
                              options.hidden, cells_per_class, options.seed);
  } else if (gradients) {
    expert_gradients_.emplace(ranks, plan, real, options.hidden, options.real_cells, options.seed);
  }
  if (gradients && !options.encoder && !options.student_expert) {
    for (std::uint64_t i = 0; i < comparing_heads; ++i) {
      Head const head = deep_head(first_comparing_head + i);
      comparing_.push_back(
          {means_, head, (*expert_gradients_)(head, first_comparing_head + i), options.metric, feature_scale});
    }
  }
  if (any(&MatchingParts::head)) head_matching_.emplace(ranks, plan, real, feature_scale, options.head_training);
  if (any(&MatchingParts::genes))
    gene_matching_.emplace(ranks, plan, cells.read, cells.rows_by_class, cells.genes, options.gene_cells);
}

}  // namespace retort
