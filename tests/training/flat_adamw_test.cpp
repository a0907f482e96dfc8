// FlatAdamw against torch::optim::AdamW, and the learning rate's landmarks.
#include "retort/training/flat_adamw.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "retort/training/learning_rate.hpp"

using namespace retort;

TEST(FlatAdamw, IsAdamw) {
  torch::manual_seed(1);
  auto const start = torch::randn({1000});
  auto const flat = start.clone();
  auto reference = start.clone().requires_grad_();
  AdamwSettings settings;
  settings.weight_decay = 0.1;
  FlatAdamw ours(flat, settings);
  torch::optim::AdamW theirs({reference}, torch::optim::AdamWOptions(1e-2).weight_decay(0.1));
  for (int step = 0; step < 20; ++step) {
    auto const gradient = torch::randn({1000}) * (step % 3);
    ours.step(gradient, 1e-2);
    reference.mutable_grad() = gradient;
    theirs.step();
  }
  EXPECT_LT((flat - reference).abs().max().item<double>(), 1e-5);
  EXPECT_GT((flat - start).abs().max().item<double>(), 1e-2);
  EXPECT_EQ(ours.state().at("adam_steps").item<float>(), 20);
}

TEST(FlatAdamw, PaddingStaysZero) {
  auto const flat = torch::zeros({16});
  FlatAdamw(flat, AdamwSettings{}).step(torch::zeros({16}), 1e-2);
  EXPECT_EQ(flat.abs().max().item<float>(), 0);
}

TEST(Clipping, ScalesToTheNorm) {
  auto const gradient = torch::full({4}, 3.0f);
  auto const norm = [](at::Tensor const& flat) { return flat.norm().item<double>(); };
  EXPECT_DOUBLE_EQ(norm(clipped(gradient, 6, 0)), 6);
  EXPECT_DOUBLE_EQ(norm(clipped(gradient, 6, 8)), 6);
  EXPECT_NEAR(norm(clipped(gradient, 6, 2)), 2, 1e-6);
  EXPECT_DOUBLE_EQ(norm(gradient), 6);
}

TEST(LearningRate, RisesAndFalls) {
  EXPECT_NEAR(learning_rate(0, 100, 1.0, 0.1), 1.0 / 11, 1e-12);
  EXPECT_NEAR(learning_rate(9, 100, 1.0, 0.1), 10.0 / 11, 1e-12);
  EXPECT_NEAR(learning_rate(10, 100, 1.0, 0.1), 1.0, 1e-12);
  EXPECT_NEAR(learning_rate(55, 100, 1.0, 0.1), 0.5, 1e-12);
  EXPECT_LT(learning_rate(99, 100, 1.0, 0.1), 1e-3);
  EXPECT_GT(learning_rate(99, 100, 1.0, 0.1), 0);
  EXPECT_NEAR(learning_rate(0, 1, 1.0, 0.0), 1.0, 1e-12);
  EXPECT_TRUE(std::isfinite(learning_rate(0, 1, 1.0, 1.0)));
}
