#include "retort/training/lbfgs.hpp"

#include <gtest/gtest.h>

#include <cmath>

using namespace retort;

namespace {

TEST(Minimise, FindsRosenbrocksValley) {
  Objective const rosenbrock = [](std::vector<double> const& x, std::vector<double>& gradient) {
    double value = 0;
    std::fill(gradient.begin(), gradient.end(), 0.0);
    for (std::size_t i = 0; i + 1 < x.size(); ++i) {
      double const bend = x[i + 1] - x[i] * x[i];
      value += 100 * bend * bend + (1 - x[i]) * (1 - x[i]);
      gradient[i] += -400 * bend * x[i] - 2 * (1 - x[i]);
      gradient[i + 1] += 200 * bend;
    }
    return value;
  };
  auto const found = minimise(rosenbrock, std::vector<double>(6, -1.2), {.tolerance = 1e-6, .least_gain = 0});
  EXPECT_TRUE(found.converged);
  EXPECT_LE(found.largest_gradient, 1e-6);
  for (double const x : found.x) EXPECT_NEAR(x, 1, 1e-5);
}

TEST(Minimise, FindsABadlyScaledBowl) {
  Objective const bowl = [](std::vector<double> const& x, std::vector<double>& gradient) {
    double value = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      double const weight = std::pow(10.0, static_cast<double>(i % 5));
      double const away = x[i] - static_cast<double>(i);
      value += weight / 2 * away * away;
      gradient[i] = weight * away;
    }
    return value;
  };
  auto const found = minimise(bowl, std::vector<double>(50), {.tolerance = 1e-8, .least_gain = 0});
  EXPECT_TRUE(found.converged);
  EXPECT_LT(found.iterations, 100);  // steepest descent would need thousands
  for (std::size_t i = 0; i < found.x.size(); ++i) EXPECT_NEAR(found.x[i], static_cast<double>(i), 1e-6);
}

TEST(Minimise, SaysWhenIterationsRunOut) {
  Objective const bowl = [](std::vector<double> const& x, std::vector<double>& gradient) {
    gradient = {std::sinh(x[0]), 100 * (x[1] - 3)};
    return std::cosh(x[0]) + 50 * (x[1] - 3) * (x[1] - 3);
  };
  auto const found = minimise(bowl, {5, 0}, {.most_iterations = 2});
  EXPECT_FALSE(found.converged);
  EXPECT_EQ(found.iterations, 2);
}

}  // namespace
