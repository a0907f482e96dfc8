// Gradients and means that all ranks form together, against autograd and against one rank.
#include "retort/distill/expert_gradients.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "retort/distill/real_features.hpp"
#include "retort/models/head_training.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t width = 32;
constexpr double scale = 5.5;

// Classes of very different sizes; one has a single cell, so most shards have none of it.
struct World {
  std::vector<std::vector<std::int64_t>> rows_by_class;
  at::Tensor features, weight, bias;  // [rows, width], [classes, width], [classes]

  World() {
    at::manual_seed(11);
    std::int64_t row = 0;
    for (std::int64_t cells : {1, 7, 40, 300}) {
      auto& rows = rows_by_class.emplace_back();
      for (std::int64_t i = 0; i < cells; ++i) rows.push_back(row++);
    }
    features = at::randn({row, width}) / std::sqrt(static_cast<double>(width)) + 0.1;
    weight = at::randn({4, width}) * 0.2;
    bias = at::randn({4}) * 0.2;
  }
  RealFeatures real(ShardPlan const& plan) const {
    auto const read = [this](std::span<std::int64_t const> rows) {
      return features.index_select(0, at::tensor(std::vector<std::int64_t>(rows.begin(), rows.end()), at::kLong));
    };
    return {read, width, rows_by_class, plan, scale};
  }
};

TEST(ExpertGradients, EqualAutogradOnOneRank) {
  World const world;
  auto const ranks = Communicator::world();
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  RealFeatures const real = world.real(plan);
  ExpertGradients const gradients(ranks, plan, real, {}, 0, 1);
  at::Tensor const ours = gradients({world.weight, world.bias}, 0).view({4, 4, width + 1});
  for (std::int64_t c = 0; c < 4; ++c) {
    auto const& rows = world.rows_by_class[index(c)];
    at::Tensor const weight = world.weight.to(at::kDouble).requires_grad_(true),
                     bias = world.bias.to(at::kDouble).requires_grad_(true);
    at::Tensor const features = world.features.narrow(0, rows[0], std::ssize(rows)).to(at::kDouble) * scale;
    at::cross_entropy_loss(at::linear(features, weight, bias), at::full({std::ssize(rows)}, c, at::kLong)).backward();
    at::Tensor const expected = at::cat({weight.grad(), bias.grad().unsqueeze(1)}, 1);
    double const apart = (ours[c] - expected).abs().max().item<double>(), size = expected.abs().max().item<double>();
    EXPECT_LT(apart, 1e-5 * size) << "class " << c;
  }
}

// With hidden layers: weights and biases of all layers, and the gradient of all cells together.
TEST(ExpertGradients, EqualAutogradThroughHiddenLayers) {
  World const world;
  auto const ranks = Communicator::world();
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  RealFeatures const real = world.real(plan);
  ExpertGradients const gradients(ranks, plan, real, {9, 5}, 0, 1);
  Head const head = initial_head(4, width, 1, 2, {9, 5});
  at::Tensor const ours = gradients(head, 0), together = gradients.over_all_cells(ours);
  auto const autograd = [&](std::int64_t first_row, at::Tensor const& labels) {
    std::vector<at::Tensor> weights, columns;
    at::Tensor value = world.features.narrow(0, first_row, labels.size(0)).to(at::kDouble) * scale;
    for (auto const& layer : layers_of(head)) {
      if (!weights.empty()) value = at::relu(value);
      weights.push_back(at::cat({layer.weight, layer.bias.unsqueeze(1)}, 1).to(at::kDouble).requires_grad_(true));
      value = at::linear(value, weights.back().narrow(1, 0, layer.weight.size(1)),
                         weights.back().select(1, layer.weight.size(1)));
    }
    at::cross_entropy_loss(value, labels).backward();
    for (auto const& weight : weights) columns.push_back(weight.grad().flatten());
    return at::cat(columns);
  };
  auto const close = [](at::Tensor const& a, at::Tensor const& b) {
    return (a - b).abs().max().item<double>() < 1e-5 * b.abs().max().item<double>();
  };
  std::vector<at::Tensor> labels;
  for (std::int64_t c = 0; c < 4; ++c) {
    auto const& rows = world.rows_by_class[index(c)];
    labels.push_back(at::full({std::ssize(rows)}, c, at::kLong));
    EXPECT_TRUE(close(ours[c], autograd(rows[0], labels.back()))) << "class " << c;
  }
  EXPECT_TRUE(close(together, autograd(0, at::cat(labels))));
}

// The same bits as one rank alone, on 1, 2 and 4 ranks with four shards; all cells and a sample.
TEST(ExpertGradients, SameBitsOnAnyNumberOfRanks) {
  World const world;
  auto const ranks = Communicator::world(), alone = Communicator::serial();
  ShardPlan const plan(4, ranks.rank(), ranks.size()), plan_alone(4, 0, 1);
  RealFeatures const real = world.real(plan), real_alone = world.real(plan_alone);
  at::Tensor const means = class_means(ranks, plan, real, scale),
                   means_alone = class_means(alone, plan_alone, real_alone, scale);
  EXPECT_TRUE(at::equal(means, means_alone));
  for (auto const& [hidden, sample] :
       std::vector<std::pair<std::vector<std::int64_t>, std::int64_t>>{{{}, 0}, {{}, 16}, {{9, 5}, 0}, {{9, 5}, 16}}) {
    Head const head = hidden.empty() ? Head{world.weight, world.bias} : initial_head(4, width, 1, 2, hidden);
    ExpertGradients const together(ranks, plan, real, hidden, sample, 1),
        single(alone, plan_alone, real_alone, hidden, sample, 1);
    at::Tensor const ours = together(head, 3), theirs = single(head, 3);
    EXPECT_TRUE(at::equal(ours, theirs)) << "sample " << sample << ", apart "
                                         << (ours - theirs).abs().max().item<float>();
    if (sample) {
      EXPECT_FALSE(at::allclose(ours, single(head, 4)));  // another draw
      // Of a class with no more cells than the sample all are taken.
      ExpertGradients const all(alone, plan_alone, real_alone, hidden, 0, 1);
      EXPECT_TRUE(at::allclose(ours[1], all(head, 0)[1], 1e-4, 1e-6));
    }
  }
}

TEST(ClassMeans, EqualTheMeans) {
  World const world;
  auto const ranks = Communicator::world();
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  at::Tensor const means = class_means(ranks, plan, world.real(plan), scale);
  for (std::int64_t c = 0; c < 4; ++c) {
    auto const& rows = world.rows_by_class[index(c)];
    EXPECT_TRUE(at::allclose(means[c], world.features.narrow(0, rows[0], std::ssize(rows)).mean(0), 1e-5, 1e-6))
        << "class " << c;
  }
}

TEST(FitRows, ClassWithoutFitCellsIsRefusedByName) {
  Labels const labels{"type", {"B", "T", "rare one"}, {0, 1, 0, 2}};
  try {
    fit_rows_by_class(labels, {Part::fit, Part::fit, Part::test, Part::held_out});
    ADD_FAILURE() << "was taken";
  } catch (Failure const& failure) {
    EXPECT_EQ(failure.code, ExitCode::bad_input);
    EXPECT_NE(std::string(failure.what()).find("'rare one'"), std::string::npos);
  }
  auto const rows = fit_rows_by_class(labels, {Part::fit, Part::fit, Part::test, Part::fit});
  EXPECT_EQ(rows[0], std::vector<std::int64_t>{0});
  EXPECT_EQ(rows[2], std::vector<std::int64_t>{3});
}

}  // namespace
}  // namespace retort
