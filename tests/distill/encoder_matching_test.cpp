// Gradients of an unfrozen encoder's weights: against autograd, finite differences, the frozen path, and on any number
// of ranks.
#include "retort/distill/encoder_matching.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "../small_cells.hpp"
#include "retort/distill/layer_gradients.hpp"
#include "retort/models/head_training.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

using testing_cells::dense;
using testing_cells::random_cells;

constexpr std::int64_t genes = 40, classes = 3, latent = 6, spc = 2;
constexpr double scale = 2.5;

struct World {
  Foundation encoder{{.genes = genes, .hidden = {12, 10}, .latent = latent}, 4};
  CsrBlock real = random_cells(35, genes, 0.4, 8);
  std::vector<std::vector<std::int64_t>> rows_by_class;
  at::Tensor cells = dense(random_cells(classes * spc, genes, 0.5, 9));  // the synthetic ones

  World() {
    at::manual_seed(61);
    for (auto& layer :
         encoder.encoder_layers) {  // as training leaves it: BatchNorm is no identity, one scale is negative
      at::NoGradGuard const no_graph;
      layer.scale.copy_(at::randn_like(layer.scale));
      layer.shift.copy_(at::randn_like(layer.shift) * 0.3);
      layer.running_mean.copy_(at::randn_like(layer.running_mean) * 0.3);
      layer.running_variance.copy_(at::rand_like(layer.running_variance) + 0.5);
    }
    encoder.freeze();
    std::int64_t row = 0;
    for (std::int64_t const count : {1, 9, 25}) {
      auto& rows = rows_by_class.emplace_back();
      for (std::int64_t i = 0; i < count; ++i) rows.push_back(row++);
    }
  }
  EncoderMatching matching(Communicator const& ranks, ShardPlan const& plan, std::vector<std::int64_t> const& hidden,
                           std::int64_t sample) const {
    auto const read = [this](std::span<std::int64_t const> rows) {
      CsrBlock out;
      out.genes = genes;
      for (auto const row : rows) {
        for (auto k = real.indptr[index(row)]; k < real.indptr[index(row) + 1]; ++k) {
          out.indices.push_back(real.indices[index(k)]);
          out.values.push_back(real.values[index(k)]);
        }
        out.indptr.push_back(static_cast<std::int64_t>(out.indices.size()));
      }
      return out;
    };
    return {ranks, plan, encoder, scale, read, rows_by_class, hidden, sample, 3};
  }

  // Autograd's gradients of the mean cross-entropy by all weight matrices [out, in], in double.
  std::vector<at::Tensor> by_autograd(Head const& head, at::Tensor const& rows, std::int64_t c,
                                      bool create_graph) const {
    std::vector<at::Tensor> weights;
    auto const linear = [&](at::Tensor const& value, at::Tensor const& weight, at::Tensor const& bias) {
      weights.push_back(weight.detach().to(at::kDouble).clone().requires_grad_(true));
      return at::linear(value, weights.back(), bias.detach().to(at::kDouble));
    };
    at::Tensor value = rows;
    for (std::size_t i = 0; i < encoder.encoder_layers.size(); ++i) {
      auto const& layer = encoder.encoder_layers[i];
      auto const wide = [](at::Tensor const& tensor) { return tensor.detach().to(at::kDouble); };
      value = linear(value, i ? layer.weight : layer.weight.t(), layer.bias);
      value = at::batch_norm(value, wide(layer.scale), wide(layer.shift), wide(layer.running_mean),
                             wide(layer.running_variance), false, 0.1, batch_norm_epsilon, false);
      value = at::prelu(value, wide(layer.slope));
    }
    value = linear(value, encoder.encoder_weight, encoder.encoder_bias);
    value = value / value.norm(2, {1}, true) * scale;
    for (std::size_t i = 0; i < head.hidden.size(); ++i)
      value = at::relu(linear(value, head.hidden[i].weight, head.hidden[i].bias));
    value = linear(value, head.weight, head.bias);
    return torch::autograd::grad({at::cross_entropy_loss(value, at::full({rows.size(0)}, c, at::kLong))}, weights, {},
                                 create_graph, create_graph);
  }
};

double relative(at::Tensor const& a, at::Tensor const& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

// The real side on any number of ranks, and the whole loss with its derivative by autograd's double back-propagation.
TEST(EncoderMatching, EqualsDoubleBackPropagation) {
  World const world;
  auto const ranks = Communicator::world();
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  for (std::vector<std::int64_t> const& hidden : {std::vector<std::int64_t>{}, std::vector<std::int64_t>{7}}) {
    EncoderMatching const matching = world.matching(ranks, plan, hidden, 1000);
    Head const head = initial_head(classes, latent, 1, 5, hidden);
    at::Tensor const real = dense(world.real).to(at::kDouble), leaf = world.cells.to(at::kDouble).requires_grad_(true);
    at::Tensor loss = at::zeros({}, at::kDouble);
    matching.for_each_class(head, 0, [&](std::int64_t c, std::vector<at::Tensor> const& gradients) {
      auto const& rows = world.rows_by_class[index(c)];
      auto const expected = world.by_autograd(head, real.narrow(0, rows[0], std::ssize(rows)), c, false),
                 own = world.by_autograd(head, leaf.narrow(0, c * spc, spc), c, true);
      EXPECT_EQ(gradients.size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_LT(relative(gradients[i][0], expected[i]), 1e-5) << "class " << c << ", matrix " << i;
        loss = loss +
               (1 - (own[i] * expected[i]).sum(1) / (own[i].norm(2, 1) * expected[i].norm(2, 1) + cosine_guard)).sum();
      }
    });
    auto const ours = matching(head, world.cells, 0);
    EXPECT_NEAR(ours.loss, loss.item<double>(), 1e-4 * loss.item<double>());
    EXPECT_EQ(matching.loss(head, world.cells, 0), ours.loss);
    at::Tensor const by_cells = torch::autograd::grad({loss}, {leaf})[0];
    EXPECT_LT(relative(ours.by_cells, by_cells), 1e-3);
  }
}

TEST(EncoderMatching, EqualsFiniteDifferences) {
  World const world;
  auto const ranks = Communicator::world();
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  EncoderMatching const matching = world.matching(ranks, plan, {}, 1000);
  Head const head = initial_head(classes, latent, 1, 5);
  at::Tensor const by_cells = matching(head, world.cells, 0).by_cells;
  for (int i = 0; i < 3; ++i) {
    at::Tensor const direction = at::randn_like(world.cells);
    double const slope = (by_cells * direction).sum().item<double>(), h = 2e-3;
    double const difference =
        (matching.loss(head, world.cells + direction * h, 0) - matching.loss(head, world.cells - direction * h, 0)) /
        (2 * h);
    EXPECT_NEAR(difference, slope, 0.03 * std::abs(slope) + 0.02);
  }
}

// Without the encoder's own matrices what is left is the frozen encoder's matching.
TEST(EncoderMatching, HeadsPartEqualsTheFrozenPath) {
  World world;
  for (std::vector<std::int64_t> const& hidden : {std::vector<std::int64_t>{}, std::vector<std::int64_t>{7}}) {
    Head const head = initial_head(classes, latent, 1, 5, hidden);
    at::Tensor const real = at::randn({classes, gradient_length(classes, latent, hidden)}),
                     labels = at::arange(classes, at::kLong).repeat_interleave(spc);
    at::Tensor const leaf = world.cells.clone().requires_grad_(true), same = world.cells.clone().requires_grad_(true);
    LayerPass pass = pass_through(world.encoder, head, scale, leaf, labels);
    std::size_t const of_encoder = pass.inputs.size() - hidden.size() - 1;
    for (auto* rows : {&pass.inputs, &pass.deltas})
      rows->erase(rows->begin(), rows->begin() + static_cast<std::ptrdiff_t>(of_encoder));
    at::Tensor const losses = gradient_distance(pass, layer_gradients(real, head), classes, GradientMetric::rows);
    at::Tensor const ours = torch::autograd::grad({losses.sum()}, {leaf})[0];

    at::Tensor const features = world.encoder.encode(same);
    auto const frozen = match_head_gradients(features.detach() * scale, 0, head, real, GradientMetric::rows);
    at::Tensor const expected = torch::autograd::grad({features}, {same}, {frozen.gradient * scale})[0];
    EXPECT_LT(relative(losses.detach().to(at::kFloat), frozen.losses), 1e-5);
    EXPECT_LT(relative(ours, expected), 1e-3);
  }
}

TEST(EncoderMatching, SameBitsOnAnyNumberOfRanks) {
  World const world;
  auto const ranks = Communicator::world(), alone = Communicator::serial();
  ShardPlan const plan(4, ranks.rank(), ranks.size()), plan_alone(4, 0, 1);
  Head const head = initial_head(classes, latent, 1, 5);
  for (std::int64_t const sample : {8, 1000}) {
    EncoderMatching const together = world.matching(ranks, plan, {}, sample),
                          single = world.matching(alone, plan_alone, {}, sample);
    auto const ours = together(head, world.cells, 6), theirs = single(head, world.cells, 6);
    EXPECT_EQ(ours.loss, theirs.loss);
    EXPECT_TRUE(at::equal(ours.by_cells, theirs.by_cells));
    if (sample == 8) {
      EXPECT_GT(std::abs(ours.loss - single(head, world.cells, 7).loss), 1e-3);  // another draw
    }
  }
}

}  // namespace
}  // namespace retort
