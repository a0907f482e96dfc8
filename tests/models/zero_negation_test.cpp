// Zeros are told from small numbers in training and come back from sampling.
#include "retort/models/zero_negation.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "../shared_folder.hpp"

namespace retort {
namespace {

TEST(ZeroNegation, ComesBack) {
  at::Tensor const cells = at::tensor({0.0F, 1.5F, -0.0F, 1e-30F}), negated = negated_zeros(cells);
  EXPECT_TRUE(at::equal(negated, at::tensor({-10.0F, 1.5F, -10.0F, 1e-30F})));
  EXPECT_EQ(cells[0].item<float>(), 0);
  EXPECT_TRUE(at::equal(clamped_at_zero(negated), cells));
  EXPECT_TRUE(at::equal(negated_zeros(cells, -3)[0], at::scalar_tensor(-3.0F)));
  EXPECT_TRUE(at::equal(clamped_at_zero(at::tensor({-9.2F, -1e-3F, 2.0F})), at::tensor({0.0F, 0.0F, 2.0F})));
  failure_of(ExitCode::usage, [&] { negated_zeros(cells, 1); });
}

}  // namespace
}  // namespace retort
