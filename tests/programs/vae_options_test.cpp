#include "retort/programs/vae_options.hpp"

#include <gtest/gtest.h>

#include "retort/run/error.hpp"

using namespace retort;

TEST(VaeOptions, ScldmsRateIsHeldAsInItsCodeOrFallsAllTheWay) {
  VaeOptions options;
  options.rate = 0.01;
  EXPECT_DOUBLE_EQ(options.rate_at(0, 1000), 1e-4);  // a hundredth
  EXPECT_DOUBLE_EQ(options.rate_at(100, 1000), 0.01);
  EXPECT_DOUBLE_EQ(options.rate_at(899, 1000), 0.01);
  EXPECT_NEAR(options.rate_at(999, 1000), 0.001, 1e-4);
  EXPECT_GT(options.rate_at(999, 1000), 0.001);

  options.schedule = "cosine";
  EXPECT_DOUBLE_EQ(options.rate_at(0, 1000), 1e-4);
  EXPECT_DOUBLE_EQ(options.rate_at(100, 1000), 0.01);
  EXPECT_NEAR(options.rate_at(550, 1000), 0.0055, 1e-9);  // half way
  EXPECT_NEAR(options.rate_at(999, 1000), 0.001, 1e-6);

  options.model = "scvi";
  EXPECT_DOUBLE_EQ(options.rate_at(0, 1000), 0.01);
  EXPECT_DOUBLE_EQ(options.rate_at(999, 1000), 0.01);
}

TEST(VaeOptions, RefusesWhatItDoesNotKnow) {
  VaeOptions options, other;
  options.check();
  options.schedule = "step";
  EXPECT_THROW(options.check(), Failure);
  EXPECT_TRUE(other.starts_at_components());
  other.start = "zero";
  EXPECT_THROW(other.check(), Failure);
}
