#include "retort/models/head_training.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <numeric>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

using namespace retort;

namespace {

struct Cells {
  at::Tensor features, labels;
};

// Unit rows around one direction a class.
Cells clouds(std::int64_t cells, std::int64_t classes, std::int64_t width, double spread) {
  at::manual_seed(3);
  auto const labels = at::randint(classes, {cells}, at::kLong);
  auto const features = at::randn({classes, width}).index_select(0, labels) + spread * at::randn({cells, width});
  return {features / features.norm(2, {1}, true), labels};
}

// torch.optim.SGD on torch Linears from the same initial weights and over the same batches.
Head by_autograd(Cells const& cells, std::int64_t classes, HeadOptions const& options, std::uint64_t seed,
                 std::uint64_t number) {
  auto const width = cells.features.size(1), count = cells.features.size(0);
  auto const layers = layers_of(initial_head(classes, width, seed, number, options.hidden));
  std::vector<at::Tensor> parameters;
  for (auto const& layer : layers)
    parameters.insert(parameters.end(), {layer.weight.requires_grad_(true), layer.bias.requires_grad_(true)});
  torch::optim::SGD optimiser(
      parameters, torch::optim::SGDOptions(options.rate).momentum(options.momentum).weight_decay(options.weight_decay));
  auto const scaled = options.scale_features ? cells.features * std::sqrt(static_cast<double>(width)) : cells.features;
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    if (2 * epoch >= options.epochs)
      static_cast<torch::optim::SGDOptions&>(optimiser.param_groups()[0].options()).lr(options.rate * 0.1);
    std::vector<std::int64_t> order(index(count));
    std::iota(order.begin(), order.end(), 0);
    Random(seed, purpose::head_order, number, static_cast<std::uint32_t>(epoch)).shuffle(order);
    for (auto const& batch : at::tensor(order, at::kLong).split(options.batch)) {
      optimiser.zero_grad();
      at::Tensor scores =
          torch::nn::functional::linear(scaled.index_select(0, batch), layers[0].weight, layers[0].bias);
      for (std::size_t i = 1; i < layers.size(); ++i)
        scores = torch::nn::functional::linear(scores.relu(), layers[i].weight, layers[i].bias);
      torch::nn::functional::cross_entropy(scores, cells.labels.index_select(0, batch)).backward();
      optimiser.step();
    }
  }
  Head head{layers.back().weight.detach(), layers.back().bias.detach()};
  for (std::size_t i = 0; i + 1 < layers.size(); ++i)
    head.hidden.push_back({layers[i].weight.detach(), layers[i].bias.detach()});
  return head;
}

double largest_difference(at::Tensor const& a, at::Tensor const& b) { return (a - b).abs().max().item<double>(); }

TEST(HeadTraining, EqualsPytorchSgdOverManyBatches) {
  auto const cells = clouds(300, 7, 32, 1.0);
  for (bool const scale : {true, false}) {
    HeadOptions options;
    options.epochs = 10;  // 50 steps, the rate falls after 25; the last batch of an epoch is short
    options.batch = 64;
    options.scale_features = scale;
    auto const ours = train_head(cells.features, cells.labels, 7, options, 11, 2);
    auto const theirs = by_autograd(cells, 7, options, 11, 2);
    EXPECT_LT(largest_difference(ours.weight, theirs.weight), 1e-5);
    EXPECT_LT(largest_difference(ours.bias, theirs.bias), 1e-5);
    EXPECT_GT(largest_difference(ours.weight, initial_head(7, 32, 11, 2).weight), 1e-2);
  }
}

// Hidden layers: many batches, one batch, and what the trained head says of other cells.
TEST(HeadTraining, EqualsPytorchSgdWithHiddenLayers) {
  auto const cells = clouds(300, 7, 32, 1.0);
  for (std::vector<std::int64_t> const& hidden : {std::vector<std::int64_t>{20}, std::vector<std::int64_t>{20, 9}})
    for (std::int64_t const batch : {64, 512}) {
      HeadOptions options;
      options.epochs = 10;
      options.batch = batch;
      options.hidden = hidden;
      auto const ours = train_head(cells.features, cells.labels, 7, options, 11, 2),
                 theirs = by_autograd(cells, 7, options, 11, 2), start = initial_head(7, 32, 11, 2, hidden);
      auto const a = layers_of(ours), b = layers_of(theirs), c = layers_of(start);
      ASSERT_EQ(a.size(), hidden.size() + 1);
      for (std::size_t i = 0; i < a.size(); ++i) {
        EXPECT_LT(largest_difference(a[i].weight, b[i].weight), 1e-5) << i;
        EXPECT_LT(largest_difference(a[i].bias, b[i].bias), 1e-5) << i;
        EXPECT_GT(largest_difference(a[i].weight, c[i].weight), 1e-3) << i;
      }
      at::Tensor value = cells.features * std::sqrt(32.0);
      for (std::size_t i = 0; i < b.size(); ++i) value = at::linear(i ? value.relu() : value, a[i].weight, a[i].bias);
      EXPECT_TRUE(at::equal(predict(ours, cells.features, options), value.argmax(1)));
    }
}

TEST(HeadTraining, WidthsMustBePositive) {
  HeadOptions options;
  options.hidden = {8, 0};
  EXPECT_THROW(check_head_options(options), Failure);
}

TEST(HeadTraining, EqualsPytorchSgdOnASetSmallerThanABatch) {
  auto const cells = clouds(11, 11, 128, 0.5);
  HeadOptions options;
  options.epochs = 100;
  auto const ours = train_head(cells.features, cells.labels, 11, options, 0, 0);
  auto const theirs = by_autograd(cells, 11, options, 0, 0);
  EXPECT_LT(largest_difference(ours.weight, theirs.weight), 1e-4);
  EXPECT_LT(largest_difference(ours.bias, theirs.bias), 1e-4);
}

TEST(HeadTraining, PassesOverALargeSetLessOften) {
  HeadOptions options;  // 1,000 passes of 256 cells a step, 50,000 steps at most
  EXPECT_EQ(options.passes_over(11), 1000);
  EXPECT_EQ(options.passes_over(12'800), 1000);
  EXPECT_EQ(options.passes_over(12'801), 980);
  EXPECT_EQ(options.passes_over(700'000), 18);
  EXPECT_EQ(options.passes_over(70'000'000), 1);
  auto const cells = clouds(300, 4, 16, 1.0);
  options.batch = 64;
  options.most_steps = 12;  // two passes of five steps
  auto const cut = train_head(cells.features, cells.labels, 4, options, 5, 0);
  options.most_steps = 50'000;
  options.epochs = 2;
  EXPECT_TRUE(at::equal(cut.weight, train_head(cells.features, cells.labels, 4, options, 5, 0).weight));
}

TEST(HeadTraining, SeparatesWhatIsSeparable) {
  auto const cells = clouds(2000, 5, 64, 0.4);
  HeadOptions options;
  options.epochs = 30;
  auto const head = train_head(cells.features.narrow(0, 0, 1000), cells.labels.narrow(0, 0, 1000), 5, options, 1, 0);
  auto const truth = cells.labels.narrow(0, 1000, 1000);
  EXPECT_GT(score(predict(head, cells.features.narrow(0, 1000, 1000), options), truth, 5).accuracy, 99);
}

TEST(HeadTraining, IsAFunctionOfSeedAndIndex) {
  auto const cells = clouds(600, 4, 16, 1.0);
  HeadOptions options;
  options.epochs = 3;
  auto const first = train_head(cells.features, cells.labels, 4, options, 5, 0);
  EXPECT_TRUE(at::equal(first.weight, train_head(cells.features, cells.labels, 4, options, 5, 0).weight));
  EXPECT_FALSE(at::equal(first.weight, train_head(cells.features, cells.labels, 4, options, 5, 1).weight));
  EXPECT_FALSE(at::equal(first.weight, train_head(cells.features, cells.labels, 4, options, 6, 0).weight));
}

TEST(HeadTraining, InitialHeadIsUniform) {
  auto const head = initial_head(50, 128, 0, 0);
  double const bound = 1 / std::sqrt(128.0);
  EXPECT_LE(head.weight.abs().max().item<double>(), bound);
  EXPECT_NEAR(head.weight.std().item<double>(), bound / std::sqrt(3.0), 0.02 * bound);
  EXPECT_NEAR(head.weight.mean().item<double>(), 0, 0.02 * bound);
  EXPECT_LE(head.bias.abs().max().item<double>(), bound);
}

TEST(Predict, TiesGoToTheLowerClass) {
  Head const head{at::zeros({4, 3}), at::tensor({0.0F, 1.0F, 1.0F, 0.5F})};
  EXPECT_TRUE(predict(head, at::randn({600, 3}), {}).eq(1).all().item<bool>());
  EXPECT_EQ(predict(head, at::empty({0, 3}), {}).size(0), 0);
}

TEST(Score, EqualsByHand) {
  // class 0: 2 of 3 found, 1 false; class 1: 1 of 1 found, 1 false; class 2 has no cells; class 3: 1 of 2 found, none
  // false.
  auto const truth = at::tensor(std::vector<std::int64_t>{0, 0, 0, 1, 3, 3});
  auto const given = at::tensor(std::vector<std::int64_t>{0, 0, 1, 1, 3, 0});
  auto const scores = score(given, truth, 4);
  EXPECT_DOUBLE_EQ(scores.accuracy, 100.0 * 4 / 6);
  EXPECT_NEAR(scores.macro_f1, 100.0 * (2.0 / 3 + 2.0 / 3 + 2.0 / 3) / 3, 1e-12);
  EXPECT_NEAR(scores.recall[0], 100.0 * 2 / 3, 1e-12);
  EXPECT_EQ(scores.recall[1], 100);
  EXPECT_TRUE(std::isnan(scores.recall[2]));
  EXPECT_EQ(scores.recall[3], 50);
  // A prediction of a class without cells counts against the others alone.
  EXPECT_NEAR(
      score(at::tensor(std::vector<std::int64_t>{2, 1}), at::tensor(std::vector<std::int64_t>{0, 1}), 3).macro_f1, 50,
      1e-12);
}

}  // namespace
