#include "retort/distill/head_matching.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "retort/kernels/packed_product.hpp"
#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

// The real cells of one shard, made ready for products with a few rows.
struct PackedCells {
  explicit PackedCells(RealFeatures::Slice const& slice)
      : class_begin(slice.class_begin), scores(pack_matrix(slice.values.t())), values(pack_matrix(slice.values)) {}
  std::vector<std::int64_t> class_begin;
  at::Tensor scores;  // of [width + 1, rows]
  at::Tensor values;  // of [rows, width + 1]
};

at::Tensor with_ones(at::Tensor const& features, double scale) {
  return at::cat({features * scale, at::ones({features.size(0), 1}, features.options())}, 1);
}

}  // namespace

struct HeadMatching::State {
  ShardPlan const& plan;
  RealFeatures const& real;
  double scale;
  HeadTraining training;
  std::int64_t cells = 0;           // fit cells over all ranks
  OrderedSum<float> sum;            // the gradient, then the loss
  std::vector<PackedCells> shards;  // of this rank

  // The mean cross-entropy of all real cells and its derivative by the head [classes, width + 1], of one shard's cells.
  void add_up(PackedCells const& own, at::Tensor const& head, std::span<float> out) const {
    std::int64_t const rows = own.class_begin.back(), classes = real.classes(), width = real.width() + 1;
    at::Tensor const no_bias = at::zeros({std::max(rows, width)}, at::kFloat);
    at::Tensor const scores = multiply_packed(head, own.scores, no_bias.narrow(0, 0, rows));  // [classes, rows]
    at::Tensor const log_p = at::log_softmax(scores, 0), error = log_p.exp();
    double loss = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      std::int64_t const begin = own.class_begin[index(c)], count = own.class_begin[index(c) + 1] - begin;
      loss -= log_p.select(0, c).narrow(0, begin, count).sum(at::kDouble).item<double>();
      error.select(0, c).narrow(0, begin, count).sub_(1);
    }
    double const share = 1.0 / static_cast<double>(cells);
    at::Tensor const gradient = at::from_blob(out.data(), {classes, width}, at::kFloat);
    multiply_packed_out(gradient, error, own.values, no_bias.narrow(0, 0, width));
    gradient.mul_(share);
    out[index(classes * width)] = static_cast<float>(loss * share);
  }

  UnrolledHead trained(at::Tensor const& features, at::Tensor const& labels, Head const& start) const {
    return {with_ones(features, scale), labels, at::cat({start.weight, start.bias.unsqueeze(1)}, 1), training};
  }

  // Collective.
  std::pair<double, at::Tensor> outer(at::Tensor const& head) {
    std::int64_t const length = head.numel() + 1;
    std::vector<float> of_shard(index(length));
    for (std::size_t i = 0; i < sum.blocks().size(); ++i) {
      ShardTree<float> tree(length);
      auto const [begin, width] = sum.blocks()[i];
      for (int shard = begin; shard < begin + width; ++shard) {
        add_up(shards[index(shard - plan.begin())], head, of_shard);
        tree.add(of_shard);
      }
      tree.take(sum.block(i));
    }
    auto const total = sum.sum();
    at::Tensor const gradient = at::empty(head.sizes(), at::kFloat);
    std::copy(total.begin(), total.end() - 1, gradient.data_ptr<float>());
    return {static_cast<double>(total.back()), gradient};
  }
};

HeadMatching::HeadMatching(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real,
                           double feature_scale, HeadTraining const& training)
    : state_(new State{plan,
                       real,
                       feature_scale,
                       training,
                       0,
                       OrderedSum<float>(ranks, plan, real.classes() * (real.width() + 1) + 1),
                       {}}) {
  for (std::int64_t const count : real.counts()) state_->cells += count;
  for (int shard = plan.begin(); shard < plan.end(); ++shard) state_->shards.emplace_back(real.slice(shard));
}
HeadMatching::~HeadMatching() = default;

HeadMatching::Result HeadMatching::operator()(at::Tensor const& features, at::Tensor const& labels,
                                              Head const& start) const {
  at::NoGradGuard const no_graph;
  UnrolledHead const head = state_->trained(features, labels, start);
  auto const [loss, by_head] = state_->outer(head.weight());
  return {loss, (head.back(by_head).narrow(1, 0, features.size(1)) * state_->scale).contiguous()};
}

double HeadMatching::loss(at::Tensor const& features, at::Tensor const& labels, Head const& start) const {
  at::NoGradGuard const no_graph;
  return state_->outer(state_->trained(features, labels, start).weight()).first;
}

HeadTraining head_training_like(HeadOptions const& head, std::int64_t steps) {
  constexpr double largest_rate = 0.05;  // longer steps on rows of norm sqrt(128) need not stay stable
  return {steps, std::min(largest_rate, head.rate * static_cast<double>(head.epochs) / 2 / static_cast<double>(steps)),
          head.momentum, head.weight_decay};
}

}  // namespace retort
