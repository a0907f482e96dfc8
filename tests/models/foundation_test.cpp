// The foundation model against torch::nn modules of the same weights, in inference and in training.
#include "retort/models/foundation.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "../small_cells.hpp"
#include "retort/cells/csr_rows.hpp"
#include "retort/models/foundation_training.hpp"
#include "retort/run/error.hpp"

using namespace retort;
using namespace retort::testing_cells;

namespace {

FoundationShape small_shape() { return {150, {48, 40, 33}, 12}; }

void fill(torch::nn::Linear const& to, at::Tensor const& weight, at::Tensor const& bias) {
  torch::NoGradGuard no_grad;
  to->weight.copy_(weight);
  to->bias.copy_(bias);
}

// Linear, BatchNorm, PReLU, ... Linear, from layers of ours.
torch::nn::Sequential modules_of(std::vector<HiddenLayer> const& layers, at::Tensor const& weight,
                                 at::Tensor const& bias, bool first_by_gene) {
  torch::NoGradGuard no_grad;
  torch::nn::Sequential net;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    auto const& layer = layers[i];
    auto const w = first_by_gene && i == 0 ? layer.weight.t() : layer.weight;
    torch::nn::Linear linear(w.size(1), w.size(0));
    fill(linear, w, layer.bias);
    torch::nn::BatchNorm1d norm(layer.width());
    norm->weight.copy_(layer.scale);
    norm->bias.copy_(layer.shift);
    norm->running_mean.copy_(layer.running_mean);
    norm->running_var.copy_(layer.running_variance);
    torch::nn::PReLU slope;
    slope->weight.copy_(layer.slope);
    net->push_back(linear);
    net->push_back(norm);
    net->push_back(slope);
  }
  torch::nn::Linear last(weight.size(1), weight.size(0));
  fill(last, weight, bias);
  net->push_back(last);
  return net;
}

torch::nn::Sequential encoder_of(Foundation const& m) {
  return modules_of(m.encoder_layers, m.encoder_weight, m.encoder_bias, true);
}
torch::nn::Sequential decoder_of(Foundation const& m) {
  return modules_of(m.decoder_layers, m.decoder_weight, m.decoder_bias, false);
}

// Away from the start, where BatchNorm would be the identity.
void disturb(Foundation& model) {
  torch::NoGradGuard no_grad;
  torch::manual_seed(5);
  for (auto* layers : {&model.encoder_layers, &model.decoder_layers}) {
    for (auto& layer : *layers) {
      layer.scale.uniform_(0.5, 1.5);
      layer.shift.normal_(0, 0.3);
      layer.slope.uniform_(0.1, 0.4);
      layer.running_mean.normal_(0, 0.5);
      layer.running_variance.uniform_(0.3, 2);
    }
  }
}

}  // namespace

TEST(Foundation, HasSCimilaritysParameters) {
  Foundation const model({28231, {1024, 1024, 1024}, 128}, 0);
  std::int64_t encoder = model.encoder_weight.numel() + model.encoder_bias.numel(), all = 0;
  for (auto const& layer : model.encoder_layers)
    encoder +=
        layer.weight.numel() + layer.bias.numel() + layer.scale.numel() + layer.shift.numel() + layer.slope.numel();
  for (auto const& parameter : model.parameters()) all += parameter.numel();
  EXPECT_EQ(encoder, 31'146'115);
  EXPECT_EQ(all - encoder, 31'174'218);
}

TEST(Foundation, StartsAsPyTorchsLinearDoes) {
  Foundation const model(small_shape(), 3), same(small_shape(), 3), other(small_shape(), 4);
  EXPECT_EQ(model.weights_hash(), same.weights_hash());
  EXPECT_NE(model.weights_hash(), other.weights_hash());
  auto const& w = model.encoder_layers[0].weight;
  double const bound = 1 / std::sqrt(150.0);
  EXPECT_LE(w.abs().max().item<double>(), bound);
  EXPECT_NEAR(w.std().item<double>(), bound / std::sqrt(3.0), 0.02 * bound);
  EXPECT_NEAR(w.mean().item<double>(), 0, 0.02 * bound);
}

TEST(Foundation, InferenceIsThatOfModules) {
  Foundation model(small_shape(), 1);
  disturb(model);
  auto encoder = encoder_of(model), decoder = decoder_of(model);
  encoder->eval();
  decoder->eval();
  auto const cells = random_cells(300, 150, 0.2, 1);
  auto const expected = torch::nn::functional::normalize(encoder->forward(dense(cells)));
  auto const features = model.encode(cells);
  EXPECT_LT(largest_difference(features, expected), 1e-5);
  EXPECT_LT(largest_difference(model.encode(dense(cells)), expected), 1e-5);
  EXPECT_LT(largest_difference(model.decode(features), decoder->forward(features)), 1e-5);
  for (auto const& parameter : model.parameters()) EXPECT_FALSE(parameter.requires_grad());
}

TEST(Foundation, HalfPrecisionIsNearAndRefusesOddWidths) {
  Foundation model({150, {64, 40, 33}, 12}, 3);
  auto const cells = random_cells(300, 150, 0.3, 4);
  auto const exact = model.encode(cells), half = model.encode(cells, Precision::bfloat16);
  EXPECT_FALSE(torch::equal(exact, half));
  EXPECT_GT((exact * half).sum(1).min().item<float>(), 0.999f);  // the cosine of unit rows
  EXPECT_TRUE(torch::equal(model.encode(random_cells(300, 150, 0.3, 4), Precision::bfloat16), half));
  EXPECT_THROW(Foundation(small_shape(), 3).encode(cells, Precision::bfloat16), Failure);
}

TEST(Foundation, DerivativesAreThoseOfModules) {
  Foundation model(small_shape(), 1);
  disturb(model);
  auto encoder = encoder_of(model), decoder = decoder_of(model);
  encoder->eval();
  decoder->eval();
  auto const z = torch::randn({5, 12}).requires_grad_();
  auto const upstream = torch::randn({5, 12});
  auto const ours = torch::autograd::grad({model.encode(torch::relu(model.decode(z)))}, {z}, {upstream})[0];
  auto const theirs = torch::autograd::grad(
      {torch::nn::functional::normalize(encoder->forward(torch::relu(decoder->forward(z))))}, {z}, {upstream})[0];
  EXPECT_LT(largest_difference(ours, theirs), 1e-5 * std::max(1.0, theirs.abs().max().item<double>()));
}

TEST(Foundation, ABlocksFeaturesDoNotDependOnWhatFollows) {
  Foundation model(small_shape(), 2);
  auto const cells = random_cells(600, 150, 0.2, 2), first = random_cells(512, 150, 0.2, 2);
  EXPECT_TRUE(torch::equal(model.encode(cells).slice(0, 0, 512), model.encode(first)));
}

TEST(Foundation, SavedModelsComeBack) {
  auto const folder = std::filesystem::temp_directory_path() / fmt::format("retort_foundation_{}", ::getpid());
  Foundation model(small_shape(), 6);
  disturb(model);
  model.trained_steps = 17;
  std::vector<std::string> names;
  for (int g = 0; g < 150; ++g) names.push_back(fmt::format("G{}", g));
  model.save(folder, names, {{"label", "cell_type"}});
  auto loaded = Foundation::load(folder);
  EXPECT_EQ(loaded.weights_hash(), model.weights_hash());
  EXPECT_EQ(loaded.gene_names(), names);
  EXPECT_EQ(loaded.shape().hidden, model.shape().hidden);
  EXPECT_EQ(loaded.trained_steps, 17);
  auto const cells = random_cells(10, 150, 0.2, 3);
  EXPECT_TRUE(torch::equal(loaded.encode(cells), model.encode(cells)));
  EXPECT_EQ(model.encoder_state().at("network.0.1.weight").sizes(), (std::vector<std::int64_t>{48, 150}));
  EXPECT_TRUE(model.decoder_state().contains("network.0.0.weight"));

  Foundation(small_shape(), 7).save(folder.string() + "_other", names, {});
  std::filesystem::copy_file(folder.string() + "_other/encoder.safetensors", folder / "encoder.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THROW(Foundation::load(folder), Failure);  // an encoder of another training
  std::filesystem::remove_all(folder);
  std::filesystem::remove_all(folder.string() + "_other");
  EXPECT_THROW(Foundation::load(folder), Failure);
}

// Without dropout a shard's loss, gradients and BatchNorm statistics are those of modules in training mode.
TEST(FoundationTraining, IsThatOfModules) {
  Foundation model(small_shape(), 8);
  auto encoder = encoder_of(model), decoder = decoder_of(model);
  FoundationLoss settings;
  settings.triplet_weight = 0.1;
  settings.input_dropout = settings.dropout = 0;
  FoundationTraining training(model, settings);
  auto const cells = random_cells(24, 150, 0.2, 4);
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 24; ++i) labels.push_back(i % 5);
  auto const statistics = torch::zeros({training.statistics()});
  for (auto& parameter : model.parameters())
    parameter.mutable_grad() = torch::zeros_like(parameter);  // as the arena does: layers write to it themselves
  auto const loss = training.block_loss({.rows = {}, .cells = cells, .labels = labels}, 0, 0, statistics);
  loss.backward();

  auto const z = torch::nn::functional::normalize(encoder->forward(dense(cells)));
  auto const expected = 0.9 * torch::mse_loss(decoder->forward(z), dense(cells)) +
                        0.1 * triplet_loss(z, labels, Mining::batch_hard, 0.2, Random(0, purpose::triplet)).loss;
  expected.backward();
  EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-5);
  auto const ours = model.parameters();
  std::size_t i = 0;
  for (auto const& net : {encoder, decoder}) {
    for (auto const& parameter : net->parameters()) {
      auto const mine = i == 0 ? ours[i].grad().t() : ours[i].grad();
      EXPECT_LT(largest_difference(mine, parameter.grad()),
                2e-5 * std::max(1.0, parameter.grad().abs().max().item<double>()))
          << i;
      ++i;
    }
  }
  EXPECT_EQ(i, ours.size());

  auto const losses = training.update_running(statistics, 1);
  EXPECT_NEAR(losses.loss, expected.item<double>(), 1e-5);
  auto const norm = std::dynamic_pointer_cast<torch::nn::BatchNorm1dImpl>(encoder->ptr(1)),
             last = std::dynamic_pointer_cast<torch::nn::BatchNorm1dImpl>(decoder->ptr(7));
  EXPECT_LT(largest_difference(model.encoder_layers[0].running_mean, norm->running_mean), 1e-5);
  EXPECT_LT(largest_difference(model.encoder_layers[0].running_variance, norm->running_var), 1e-5);
  EXPECT_LT(largest_difference(model.decoder_layers[2].running_mean, last->running_mean), 1e-5);
  EXPECT_LT(largest_difference(model.decoder_layers[2].running_variance, last->running_var), 1e-5);
}

TEST(FoundationTraining, InputDropoutKeepsItsShareAndTheMean) {
  auto const cells = random_cells(400, 300, 0.5, 5);
  auto const draw = [&](std::uint64_t step) { return drop_nonzeros(cells, 0.3, {Random(1, purpose::dropout, step)}); };
  auto const kept = draw(0);
  double const share = static_cast<double>(kept.nonzeros()) / static_cast<double>(cells.nonzeros());
  EXPECT_NEAR(share, 0.7, 0.01);
  EXPECT_NEAR(dense(kept).sum().item<double>(), dense(cells).sum().item<double>(),
              0.01 * dense(cells).sum().item<double>());
  EXPECT_EQ(kept.indices, draw(0).indices);
  EXPECT_NE(kept.indices, draw(1).indices);
  auto const ratio = dense(kept) / dense(cells);
  auto const factors = ratio.masked_select(dense(kept) > 0);
  EXPECT_LT(largest_difference(factors, torch::full_like(factors, 1 / 0.7)), 1e-4);
}

// An odd number of non-zeros in the first shard must not shift the numbers of the second.
TEST(FoundationTraining, InputDropoutOfShardsTogetherIsThatOfEach) {
  auto const first = random_cells(5, 61, 0.5, 11), second = random_cells(5, 61, 0.5, 12);
  Random const draw(1, purpose::dropout, 3), other(1, purpose::dropout, 4);
  CsrBlock both = first, expected = drop_nonzeros(first, 0.3, {draw});
  append_rows(both, second);
  append_rows(expected, drop_nonzeros(second, 0.3, {other}));
  auto const kept = drop_nonzeros(both, 0.3, {draw, other});
  EXPECT_EQ(kept.indptr, expected.indptr);
  EXPECT_EQ(kept.indices, expected.indices);
  EXPECT_EQ(kept.values, expected.values);
}

TEST(FoundationTraining, DropoutIsDrawnByStepAndShard) {
  Foundation model(small_shape(), 9);
  FoundationTraining training(model, FoundationLoss{});
  auto const cells = random_cells(16, 150, 0.3, 6);
  std::vector<std::int32_t> const labels{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
  auto const loss = [&](std::uint64_t seed, std::int64_t step, int shard) {
    return training
        .block_loss({.first = shard, .rows = {}, .cells = cells, .labels = labels}, seed, step,
                    torch::zeros({training.statistics()}))
        .item<float>();
  };
  EXPECT_EQ(loss(0, 3, 1), loss(0, 3, 1));
  EXPECT_NE(loss(0, 3, 1), loss(0, 3, 2));
  EXPECT_NE(loss(0, 3, 1), loss(0, 4, 1));
  EXPECT_NE(loss(0, 3, 1), loss(1, 3, 1));
}

TEST(FoundationTraining, RefusesSettingsWithoutSense) {
  FoundationLoss settings;
  settings.triplet_weight = 0.1;
  EXPECT_NO_THROW(require_sane(settings));
  settings.dropout = 1;
  EXPECT_THROW(require_sane(settings), Failure);
  settings.dropout = 0;
  settings.triplet_weight = 2;
  EXPECT_THROW(require_sane(settings), Failure);
}
