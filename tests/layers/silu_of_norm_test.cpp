// SiLU behind a LayerNorm: LibTorch's operators in double precision, and the bits of a shard alone.
#include "retort/layers/silu_of_norm.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

namespace retort {
namespace {

struct Gradients {
  at::Tensor result, input, added, scale, shift;
};

LayerNorm norm_of(std::int64_t width) {
  LayerNorm norm{at::randn({width}) + 1, at::randn({width}), width, 1e-5};
  for (auto* parameter : {&norm.scale, &norm.shift}) {
    parameter->requires_grad_(true);
    parameter->mutable_grad() =
        at::full({width}, std::numeric_limits<float>::quiet_NaN());  // written over, never added to
  }
  return norm;
}

Gradients pass(LayerNorm const& norm, at::Tensor const& rows, at::Tensor const& beside, at::Tensor const& upstream,
               std::int64_t shards) {
  at::Tensor const input = rows.clone().requires_grad_(true),
                   added = beside.defined() ? beside.clone().requires_grad_(true) : beside;
  at::Tensor const result = silu_of_norm(norm, input, added, shards);
  result.backward(upstream);
  return {result.detach(), input.grad().clone(), added.defined() ? added.grad().clone() : added,
          norm.scale.grad().clone(), norm.shift.grad().clone()};
}

double distance(at::Tensor const& a, at::Tensor const& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

TEST(SiluOfNorm, IsLibTorchsByAutogradAtOddWidths) {
  at::manual_seed(1);
  struct Shape {
    std::int64_t rows, width, shards;
  };
  for (auto const& [n, width, shards] :
       {Shape{2, 5, 1}, Shape{6, 15, 2}, Shape{8, 16, 8}, Shape{12, 34, 4}, Shape{3, 512, 1}, Shape{16, 1030, 4}})
    for (bool const with_added : {true, false}) {
      LayerNorm const norm = norm_of(width);
      at::Tensor const rows = 3 * at::randn({n, width}) + 5, beside = with_added ? at::randn({n, width}) : at::Tensor(),
                       upstream = at::randn({n, width});
      auto const own = pass(norm, rows, beside, upstream, shards);

      auto const exact = [](at::Tensor const& x) { return x.detach().to(at::kDouble).requires_grad_(true); };
      at::Tensor const input = exact(rows), added = exact(with_added ? beside : at::zeros_like(rows)),
                       scale = exact(norm.scale), shift = exact(norm.shift);
      at::Tensor const result = at::silu(at::layer_norm(input + added, {width}, scale, shift, norm.epsilon));
      result.backward(upstream.to(at::kDouble));
      EXPECT_LT(distance(own.result, result.detach()), 1e-5) << n << " x " << width;
      EXPECT_LT(distance(own.input, input.grad()), 1e-4) << n << " x " << width;
      EXPECT_TRUE(!with_added || at::equal(own.added, own.input));
      EXPECT_LT(distance(own.scale, scale.grad()), 1e-5) << n << " x " << width;
      EXPECT_LT(distance(own.shift, shift.grad()), 1e-5) << n << " x " << width;
    }
}

TEST(SiluOfNorm, AnyCutOfABatchHasTheSameBits) {
  at::manual_seed(2);
  std::int64_t const n = 5, width = 83, shards = 4;
  LayerNorm const norm = norm_of(width);
  at::Tensor const rows = at::randn({n * shards, width}), beside = at::randn({n * shards, width}),
                   upstream = at::randn({n * shards, width});
  auto const part = [&](std::int64_t begin, std::int64_t count) {
    auto const cut = [&](at::Tensor const& x) { return x.narrow(0, begin * n, count * n); };
    return pass(norm, cut(rows), cut(beside), cut(upstream), count);
  };
  auto const all = part(0, 4), first = part(0, 2), second = part(2, 2), last = part(3, 1);
  EXPECT_TRUE(at::equal(all.result, at::cat({first.result, second.result})));
  EXPECT_TRUE(at::equal(all.input, at::cat({first.input, second.input})));
  EXPECT_TRUE(at::equal(all.scale, first.scale + second.scale));
  EXPECT_TRUE(at::equal(all.shift, first.shift + second.shift));
  EXPECT_TRUE(at::equal(second.input.narrow(0, n, n), last.input));
}

TEST(SiluOfNorm, WithoutShardsAutogradAdds) {
  LayerNorm const norm = norm_of(12);
  norm.scale.mutable_grad().fill_(1), norm.shift.mutable_grad().fill_(1);
  at::Tensor const rows = at::randn({4, 12}), upstream = at::randn({4, 12});
  auto const added_up = pass(norm, rows, {}, upstream, 0), written = pass(norm, rows, {}, upstream, 1);
  EXPECT_LT(distance(added_up.scale - 1, written.scale), 1e-5);
  EXPECT_LT(distance(added_up.shift - 1, written.shift), 1e-5);
}

TEST(Silu, IsLibTorchsByAutograd) {
  at::manual_seed(3);
  at::Tensor const rows = 20 * at::randn({7, 53}), upstream = at::randn({7, 53}),
                   input = rows.clone().requires_grad_(true), exact = rows.to(at::kDouble).requires_grad_(true);
  at::Tensor const own = silu(input, 1), theirs = at::silu(exact);
  own.backward(upstream), theirs.backward(upstream.to(at::kDouble));
  EXPECT_LT(distance(own.detach(), theirs.detach()), 1e-6);
  EXPECT_LT(distance(input.grad(), exact.grad()), 1e-6);
  EXPECT_TRUE(at::equal(silu(rows.narrow(0, 3, 1), 1), own.detach().narrow(0, 3, 1)));
}

}  // namespace
}  // namespace retort
