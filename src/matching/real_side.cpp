#include "retort/matching/real_side.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace retort {
namespace {
// Apart from the heads that are matched, that choose a state, and that judge a set in the end.
constexpr std::uint64_t first_comparing_head = std::uint64_t{1} << 41, comparing_heads = 3;
}  // namespace

RealSide::RealSide(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, double feature_scale, RealCells const& cells, std::vector<std::string> const& matchings,
                   Options const& options)
    : options_(options), classes_(real.classes()), width_(real.width()) {
  target_.means = class_means(ranks, plan, real, feature_scale);
  target_.metric = options.metric;
  target_.feature_scale = feature_scale;
  comparing_.push_back(target_);
  auto const any = [&](auto const& wanted) { return std::any_of(matchings.begin(), matchings.end(), [&](auto const& name) { return wanted(matching_named(name)); }); };
  if (any([](Matching const& one) { return one.gradients; })) {
    expert_gradients_.emplace(ranks, plan, real, options.real_cells, options.seed);
    comparing_.clear();
    for (std::uint64_t i = 0; i < comparing_heads; ++i) {
      aim_at(comparing_head(i), first_comparing_head + i);
      comparing_.push_back(target_);
    }
  }
  if (any([](Matching const& one) { return one.head; })) head_matching_.emplace(ranks, plan, real, feature_scale, options.head_training);
  if (any([](Matching const& one) { return one.genes; })) gene_matching_.emplace(ranks, plan, cells.read, cells.rows_by_class, cells.genes, options.gene_cells);
}

LinearHead RealSide::comparing_head(std::uint64_t i) const { return initial_head(classes_, width_, options_.seed, first_comparing_head + i); }

void RealSide::aim_at(LinearHead const& head, std::uint64_t number) {
  target_.weight = head.weight;
  target_.bias = head.bias;
  target_.expert_gradients = (*expert_gradients_)(head.weight, head.bias, number);
}

void RealSide::train_through(LinearHead const& head, at::Tensor const& features, at::Tensor const& labels) {
  target_.by_features = (*head_matching_)(features, labels, head).gradient;
}

void RealSide::train_on_genes(at::Tensor const& cells, at::Tensor const& labels) { target_.by_cells = (*gene_matching_)(cells, labels).by_cells; }

double RealSide::loss(Matching const& matching, at::Tensor const& features, at::Tensor const& cells, at::Tensor const& labels) const {
  if (matching.is_none()) return 0;
  if (!matching.head && !matching.genes) return matching_loss(matching, comparing_, features);
  double sum = 0;
  for (std::uint64_t i = 0; i < comparing_heads && matching.head; ++i) sum += head_matching_->loss(features, labels, comparing_head(i)) / static_cast<double>(comparing_heads);
  return matching.genes ? sum + gene_matching_->loss(cells, labels) : sum;
}

}  // namespace retort
