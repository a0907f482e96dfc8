// The way back through a head's training, against autograd through the same steps and against finite differences.
#include "retort/distill/unrolled_head.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "retort/models/head_training.hpp"

namespace retort {
namespace {

struct World {
  at::Tensor rows, labels, start, upstream;
  explicit World(std::int64_t n = 12, std::int64_t width = 7, std::int64_t classes = 4) {
    at::manual_seed(3);
    rows = at::cat({at::randn({n, width}, at::kDouble), at::ones({n, 1}, at::kDouble)}, 1);
    labels = at::arange(n) % classes;
    start = at::randn({classes, width + 1}, at::kDouble) * 0.3;
    upstream = at::randn({classes, width + 1}, at::kDouble);
  }
};

TEST(UnrolledHead, GoesBackAsAutogradDoes) {
  World const world;
  HeadTraining const training{25, 0.2, 0.9, 1e-2};
  at::Tensor const leaf = world.rows.clone().requires_grad_(true);
  at::Tensor weight = world.start.clone().requires_grad_(true), velocity = at::zeros_like(world.start);
  at::Tensor const targets = at::one_hot(world.labels, 4).to(at::kDouble);
  for (std::int64_t step = 0; step < training.steps; ++step) {
    at::Tensor const gradient = (at::softmax(leaf.mm(weight.t()), 1) - targets).t().mm(leaf) / 12;
    velocity = velocity * training.momentum + gradient + weight * training.weight_decay;
    weight = weight - velocity * training.rate;
  }
  (weight * world.upstream).sum().backward();
  UnrolledHead const head(world.rows, world.labels, world.start, training);
  EXPECT_TRUE(at::allclose(head.weight(), weight.detach(), 1e-12, 1e-13));
  EXPECT_TRUE(at::allclose(head.back(world.upstream), leaf.grad(), 1e-10, 1e-12));
  EXPECT_GT(leaf.grad().abs().max().item<double>(), 1e-2);
}

TEST(UnrolledHead, EqualsFiniteDifferences) {
  World const world;
  HeadTraining const training{150, 0.1, 0.9, 5e-4};
  at::Tensor direction = at::randn_like(world.rows);
  direction.select(1, 7).zero_();
  auto const loss_at = [&](double step) {
    return (UnrolledHead(world.rows + direction * step, world.labels, world.start, training).weight() * world.upstream)
        .sum()
        .item<double>();
  };
  double const expected = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5;
  double const ours = (UnrolledHead(world.rows, world.labels, world.start, training).back(world.upstream) * direction)
                          .sum()
                          .item<double>();
  EXPECT_NEAR(ours, expected, 1e-6 * std::abs(expected));
}

// It is the training that sets are judged by, as far as that sees all cells at once and keeps its rate.
TEST(UnrolledHead, TrainsAsTrainHeadDoes) {
  World const world;
  at::Tensor const features = world.rows.narrow(1, 0, 7).to(at::kFloat).contiguous();
  HeadOptions options{.epochs = 60, .scale_features = false, .rate_falls = false};
  Head head = initial_head(4, 7, 5, 1);
  UnrolledHead const unrolled(at::cat({features, at::ones({12, 1})}, 1), world.labels,
                              at::cat({head.weight, head.bias.unsqueeze(1)}, 1),
                              {60, options.rate, options.momentum, options.weight_decay});
  train_further(head, features, world.labels, options, 5, 1);
  EXPECT_TRUE(at::allclose(unrolled.weight().narrow(1, 0, 7), head.weight, 1e-4, 1e-6));
  EXPECT_TRUE(at::allclose(unrolled.weight().select(1, 7), head.bias, 1e-4, 1e-6));
}

}  // namespace
}  // namespace retort
