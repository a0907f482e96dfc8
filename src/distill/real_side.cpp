#include "retort/distill/real_side.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace retort {
namespace {
// Apart from the heads that are matched, that choose a state, and that judge a set in the end.
constexpr std::uint64_t first_comparing_head = std::uint64_t{1} << 41, comparing_heads = 3;
constexpr std::int64_t sampled_cells = 256;  // a class, as in dataset condensation's reference code
}  // namespace

RealSide::RealSide(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, double feature_scale,
                   RealCells const& cells, std::vector<std::string> const& matchings, Options const& options)
    : options_(options), classes_(real.classes()), width_(real.width()) {
  target_.means = class_means(ranks, plan, real, feature_scale);
  target_.metric = options.metric;
  target_.feature_scale = feature_scale;
  comparing_.push_back(target_);
  auto const any = [&](auto const& wanted) {
    return std::any_of(matchings.begin(), matchings.end(),
                       [&](auto const& name) { return wanted(matching_named(name)); });
  };
  bool const gradients = any([](Matching const& one) { return one.gradients; });
  if (gradients && options.encoder)
    encoder_matching_.emplace(ranks, plan, *options.encoder, feature_scale, cells.read, cells.rows_by_class,
                              options.hidden, options.real_cells ? options.real_cells : sampled_cells, options.seed);
  else if (gradients)
    expert_gradients_.emplace(ranks, plan, real, options.hidden, options.real_cells, options.seed);
  if (gradients && !options.encoder && !options.student) {
    comparing_.clear();
    for (std::uint64_t i = 0; i < comparing_heads; ++i) {
      aim_at(comparing_head(i), first_comparing_head + i);
      comparing_.push_back(target_);
    }
  }
  if (any([](Matching const& one) { return one.head; }))
    head_matching_.emplace(ranks, plan, real, feature_scale, options.head_training);
  if (any([](Matching const& one) { return one.genes; }))
    gene_matching_.emplace(ranks, plan, cells.read, cells.rows_by_class, cells.genes, options.gene_cells);
}

Head RealSide::comparing_head(std::uint64_t i) const {
  return initial_head(classes_, width_, options_.seed, first_comparing_head + i, options_.hidden);
}

void RealSide::aim_at(Head const& head, std::uint64_t number) {
  target_.head = head;
  target_.expert_gradients = (*expert_gradients_)(head, number);
}

void RealSide::aim_at_weights(Head const& head, std::uint64_t number, at::Tensor const& cells) {
  target_.by_cells = (*encoder_matching_)(head, cells, number).by_cells;
  target_.by_features.reset();
}

void RealSide::follow(Head const& start, std::uint64_t number, at::Tensor const& features, at::Tensor const& labels,
                      std::int64_t epochs) {
  target_.by_features = match_student_expert(*expert_gradients_, start, features, labels, target_.feature_scale,
                                             student_options(epochs), options_.seed, number)
                            .gradient;
  target_.by_cells.reset();
}

void RealSide::train_through(Head const& head, at::Tensor const& features, at::Tensor const& labels) {
  target_.by_features = (*head_matching_)(features, labels, head).gradient;
}

void RealSide::train_on_genes(at::Tensor const& cells, at::Tensor const& labels) {
  target_.by_cells = (*gene_matching_)(cells, labels).by_cells;
}

double RealSide::loss(Matching const& matching, at::Tensor const& features, at::Tensor const& cells,
                      at::Tensor const& labels, std::int64_t epochs) const {
  if (matching.is_none()) return 0;
  if (matching.gradients && (options_.encoder || options_.student))
    return loss_of_gradients(matching, features, cells, labels, epochs);
  if (!matching.head && !matching.genes) return matching_loss(matching, comparing_, features);
  double sum = 0;
  for (std::uint64_t i = 0; i < comparing_heads && matching.head; ++i)
    sum += head_matching_->loss(features, labels, comparing_head(i)) / static_cast<double>(comparing_heads);
  return matching.genes ? sum + gene_matching_->loss(cells, labels) : sum;
}

// Of matchings whose gradients are not compared class by class against comparing_.
double RealSide::loss_of_gradients(Matching const& matching, at::Tensor const& features, at::Tensor const& cells,
                                   at::Tensor const& labels, std::int64_t epochs) const {
  double sum = matching.means ? matching_loss(matching_named("dm"), comparing_, features) : 0;
  if (options_.encoder) return sum + encoder_matching_->loss(comparing_head(0), cells, first_comparing_head);
  for (std::uint64_t i = 0; i < comparing_heads; ++i) {
    auto const matched =
        match_student_expert(*expert_gradients_, comparing_head(i), features, labels, target_.feature_scale,
                             student_options(epochs), options_.seed, first_comparing_head + i);
    sum += matched.loss / static_cast<double>(comparing_heads);
  }
  return sum;
}

}  // namespace retort
