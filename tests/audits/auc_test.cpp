#include "retort/audits/auc.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "retort/run/random.hpp"

using namespace retort;

namespace {

// Every pair, as DeLong's paper writes it.
Auc by_pairs(std::vector<double> const& positives, std::vector<double> const& negatives) {
  auto const beats = [](double a, double b) { return a > b ? 1.0 : a == b ? 0.5 : 0.0; };
  double const m = static_cast<double>(positives.size()), n = static_cast<double>(negatives.size());
  double value = 0, of_positives = 0, of_negatives = 0;
  for (double const a : positives)
    for (double const b : negatives) value += beats(a, b) / (m * n);
  for (double const a : positives) {
    double share = 0;
    for (double const b : negatives) share += beats(a, b) / n;
    of_positives += (share - value) * (share - value) / (m - 1);
  }
  for (double const b : negatives) {
    double share = 0;
    for (double const a : positives) share += beats(a, b) / m;
    of_negatives += (share - value) * (share - value) / (n - 1);
  }
  double const reach = 1.959963984540054 * std::sqrt(of_positives / m + of_negatives / n);
  return {value, std::max(0.0, value - reach), std::min(1.0, value + reach)};
}

TEST(Auc, IsThatOfAllPairs) {
  Random random(1, purpose::simulate);
  for (int trial = 0; trial < 20; ++trial) {
    std::vector<double> positives, negatives;
    for (int i = 0; i < 5 + trial; ++i)
      positives.push_back(static_cast<double>(random.below(12)) + trial * 0.3);  // with ties
    for (int i = 0; i < 40 - trial; ++i) negatives.push_back(static_cast<double>(random.below(12)));
    auto const fast = auc(positives, negatives), slow = by_pairs(positives, negatives);
    EXPECT_NEAR(fast.value, slow.value, 1e-12);
    EXPECT_NEAR(fast.low, slow.low, 1e-12);
    EXPECT_NEAR(fast.high, slow.high, 1e-12);
  }
}

TEST(Auc, KnowsTheExtremes) {
  std::vector<double> const low{1, 2, 3}, high{4, 5};
  EXPECT_EQ(auc(high, low).value, 1);
  EXPECT_EQ(auc(high, low).low, 1);
  EXPECT_EQ(auc(low, high).value, 0);
  EXPECT_EQ(auc(low, low).value, 0.5);
  EXPECT_TRUE(std::isnan(auc(std::vector{1.0, std::numeric_limits<double>::quiet_NaN()}, low).value));
}

TEST(Auc, CoversTheTruth) {
  Random random(2, purpose::simulate);
  double const truth = 0.5 * std::erfc(-0.5);  // of two normals one deviation apart
  int covered = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::vector<double> positives, negatives;
    for (int i = 0; i < 60; ++i) positives.push_back(random.normal() + 1);
    for (int i = 0; i < 40; ++i) negatives.push_back(random.normal());
    auto const area = auc(positives, negatives);
    covered += area.low <= truth && truth <= area.high;
  }
  EXPECT_GE(covered, 365);
  EXPECT_LE(covered, 393);
}

}  // namespace
