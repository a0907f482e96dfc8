// The packed product against at::linear, forward and backward, at shapes with every kind of rest.
#include "retort/kernels/frozen_linear.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace retort {
namespace {

TEST(FrozenLinear, EqualsLinearAndItsGradient) {
  at::manual_seed(1);
  for (std::int64_t rows : {1, 2, 5, 6, 7, 11, 13, 60}) {
    for (std::int64_t in : {1, 17, 128}) {
      for (std::int64_t out : {1, 15, 64, 65, 130}) {
        at::Tensor const weight = at::randn({out, in}), bias = at::randn({out}), upstream = at::randn({rows, out});
        at::Tensor const x = at::randn({rows, in}).requires_grad_(true),
                         y = x.detach().to(at::kDouble).requires_grad_(true);
        FrozenLinear const layer(weight.t(), bias);
        at::Tensor const ours = layer(x), theirs = at::linear(y, weight.to(at::kDouble), bias.to(at::kDouble));
        (ours * upstream).sum().backward();
        (theirs * upstream).sum().backward();
        EXPECT_TRUE(at::allclose(ours.to(at::kDouble), theirs, 1e-5, 1e-4)) << rows << " x " << in << " x " << out;
        EXPECT_TRUE(at::allclose(x.grad().to(at::kDouble), y.grad(), 1e-5, 1e-4))
            << rows << " x " << in << " x " << out;
      }
    }
  }
}

TEST(FrozenLinear, RowsDoNotDependOnEachOther) {
  at::manual_seed(2);
  FrozenLinear const layer(at::randn({300, 200}), at::randn({200}));
  at::Tensor const x = at::randn({29, 300}), all = layer(x);
  for (std::int64_t count : {1, 4, 11})
    for (std::int64_t begin = 0; begin + count <= 29; begin += count)
      EXPECT_TRUE(at::equal(layer(x.narrow(0, begin, count)), all.narrow(0, begin, count))) << begin << " + " << count;
}

TEST(FrozenLinear, TakesStridedInputsAndUpstream) {
  at::manual_seed(3);
  FrozenLinear const layer(at::randn({20, 30}), at::randn({30}));
  at::Tensor const x = at::randn({20, 8}).t().requires_grad_(true);
  at::Tensor const result = layer(x);
  EXPECT_TRUE(at::equal(result, layer(x.detach().contiguous())));
  result.sum().backward();  // an expanded upstream
  EXPECT_EQ(x.grad().sizes(), x.sizes());
}

}  // namespace
}  // namespace retort
