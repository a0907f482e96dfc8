#include "retort/kernels/shard_linear.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace retort {
namespace {

struct Layer {
  at::Tensor weight, bias;
  Layer(std::int64_t in, std::int64_t out) : weight(at::randn({out, in})), bias(at::randn({out})) {
    for (auto* parameter : {&weight, &bias}) {
      parameter->requires_grad_(true);
      parameter->mutable_grad() =
          at::full(parameter->sizes(), std::numeric_limits<float>::quiet_NaN());  // written over, never added to
    }
  }
};

struct Gradients {
  at::Tensor result, input, weight, bias;
};

Gradients pass(Layer const& layer, at::Tensor const& rows, at::Tensor const& upstream, std::int64_t shards) {
  at::Tensor const input = rows.clone().requires_grad_(true);
  at::Tensor const result = shard_linear(input, layer.weight, layer.bias, shards);
  result.backward(upstream);
  return {result.detach(), input.grad().clone(), layer.weight.grad().clone(), layer.bias.grad().clone()};
}

double distance(at::Tensor const& a, at::Tensor const& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

struct Shape {
  std::int64_t rows, in, out, shards;
};

TEST(ShardLinear, IsLinearByAutogradAtOddSizes) {
  at::manual_seed(1);
  for (auto const& [n, in, out, shards] :
       {Shape{1, 1, 1, 1}, Shape{6, 5, 3, 2}, Shape{8, 64, 64, 8}, Shape{7, 63, 65, 1}, Shape{28, 130, 49, 4},
        Shape{12, 1030, 97, 2}, Shape{20, 77, 1100, 4}, Shape{60, 77, 101, 4}, Shape{121, 130, 200, 1},
        Shape{256, 64, 96, 8}}) {
    Layer layer(in, out);
    at::Tensor const rows = at::randn({n, in}), upstream = at::randn({n, out});
    auto const own = pass(layer, rows, upstream, shards);

    at::Tensor const input = rows.to(at::kDouble).requires_grad_(true),
                     weight = layer.weight.detach().to(at::kDouble).requires_grad_(true),
                     bias = layer.bias.detach().to(at::kDouble).requires_grad_(true);
    at::Tensor const result = at::linear(input, weight, bias);
    result.backward(upstream.to(at::kDouble));
    EXPECT_LT(distance(own.result, result.detach()), 1e-5) << n << " x " << in << " x " << out;
    EXPECT_LT(distance(own.input, input.grad()), 1e-5) << n << " x " << in << " x " << out;
    EXPECT_LT(distance(own.weight, weight.grad()), 1e-5) << n << " x " << in << " x " << out;
    EXPECT_LT(distance(own.bias, bias.grad()), 1e-5) << n << " x " << in << " x " << out;
  }
}

// 37 rows are multiplied by panels of the weight, 122 as panels of rows, 11 of them by panels of the weight again.
TEST(ShardLinear, RowsDoNotDependOnOtherRows) {
  at::manual_seed(2);
  std::int64_t const in = 600, out = 530;
  Layer layer(in, out);
  for (std::int64_t n : {37, 122}) {
    at::Tensor const rows = at::randn({n, in}), upstream = at::randn({n, out});
    auto const all = pass(layer, rows, upstream, 1);
    for (std::int64_t begin : {std::int64_t{0}, std::int64_t{1}, std::int64_t{13}, n - 1}) {
      std::int64_t const count = std::min<std::int64_t>(n - begin, 11);
      auto const some = pass(layer, rows.narrow(0, begin, count), upstream.narrow(0, begin, count), 1);
      EXPECT_TRUE(at::equal(some.result, all.result.narrow(0, begin, count))) << begin << " of " << n;
      EXPECT_TRUE(at::equal(some.input, all.input.narrow(0, begin, count))) << begin << " of " << n;
    }
  }
}

// One block of eight shards, two of four, four of two and eight of one, joined by the rest of the tree.
TEST(ShardLinear, CutsOfTheShardsGiveTheSameBits) {
  at::manual_seed(3);
  std::int64_t const in = 150, out = 101, shards = 8, n = 5 * shards;
  Layer layer(in, out);
  at::Tensor const rows = at::randn({n, in}), upstream = at::randn({n, out});
  auto const whole = pass(layer, rows, upstream, shards);
  for (std::int64_t blocks = 2; blocks <= shards; blocks *= 2) {
    std::vector<at::Tensor> weights, biases;
    for (std::int64_t b = 0; b < blocks; ++b) {
      auto const part = pass(layer, rows.narrow(0, b * n / blocks, n / blocks),
                             upstream.narrow(0, b * n / blocks, n / blocks), shards / blocks);
      weights.push_back(part.weight);
      biases.push_back(part.bias);
    }
    for (auto* sums : {&weights, &biases})
      for (std::size_t apart = 1; apart < sums->size(); apart *= 2)
        for (std::size_t b = 0; b < sums->size(); b += 2 * apart) (*sums)[b] = (*sums)[b] + (*sums)[b + apart];
    EXPECT_TRUE(at::equal(weights[0], whole.weight)) << blocks << " blocks";
    EXPECT_TRUE(at::equal(biases[0], whole.bias)) << blocks << " blocks";
  }
}

TEST(ShardLinear, RefusesRowsThatTheShardsCannotShare) {
  Layer layer(4, 3);
  EXPECT_ANY_THROW(shard_linear(at::ones({6, 4}), layer.weight, layer.bias, 4));
  EXPECT_ANY_THROW(shard_linear(at::ones({6, 4}), layer.weight, layer.bias, 3));
  EXPECT_ANY_THROW(shard_linear(at::ones({6, 5}), layer.weight, layer.bias, 2));
  layer.bias.mutable_grad() = at::Tensor();
  EXPECT_ANY_THROW(shard_linear(at::ones({6, 4}), layer.weight, layer.bias, 2));
}

}  // namespace
}  // namespace retort
