#include "retort/audits/paired_tests.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "retort/run/random.hpp"

using namespace retort;

namespace {

// Of all 2^n signs, with the ranks as the definition has them.
double by_all_signs(std::vector<double> const& a, std::vector<double> const& b) {
  std::vector<double> differences, ranks;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) differences.push_back(a[i] - b[i]);
  for (double const one : differences) {
    double rank = 0.5;
    for (double const other : differences)
      rank += std::abs(other) < std::abs(one) ? 1 : std::abs(other) == std::abs(one) ? 0.5 : 0;
    ranks.push_back(rank);
  }
  double observed = 0, below = 0, above = 0;
  for (std::size_t i = 0; i < ranks.size(); ++i) observed += differences[i] > 0 ? ranks[i] : 0;
  for (unsigned signs = 0; signs < 1U << ranks.size(); ++signs) {
    double sum = 0;
    for (std::size_t i = 0; i < ranks.size(); ++i) sum += signs >> i & 1 ? ranks[i] : 0;
    below += sum <= observed;
    above += sum >= observed;
  }
  return std::min(1.0, 2 * std::min(below, above) / std::pow(2.0, static_cast<double>(ranks.size())));
}

TEST(PairedTest, SignedRanksAreExactWithTiesAndZeros) {
  Random random(3, purpose::simulate);
  for (int trial = 0; trial < 30; ++trial) {
    std::vector<double> a, b;
    for (int i = 0; i < 2 + trial % 9; ++i) {
      a.push_back(static_cast<double>(random.below(7)) + trial / 15);
      b.push_back(static_cast<double>(random.below(7)));
    }
    EXPECT_NEAR(paired_test(a, b).signed_rank_p, by_all_signs(a, b), 1e-12);
  }
}

TEST(PairedTest, IsStudents) {
  auto const test = paired_test(std::vector{90.0, 91.0, 93.0}, std::vector{89.0, 90.0, 90.0});
  EXPECT_NEAR(test.difference, 5.0 / 3, 1e-12);
  double const error = std::sqrt(4.0 / 9), t = 5.0 / 3 / error;  // two degrees of freedom have a closed form
  EXPECT_NEAR(*test.t_p, 1 - t / std::sqrt(t * t + 2), 1e-12);
  EXPECT_NEAR(*test.high - test.difference, 4.302652729911275 * error, 1e-9);
  EXPECT_NEAR(test.signed_rank_p, 0.25, 1e-12);
}

TEST(PairedTest, OfEqualDifferencesHasNoT) {
  auto const same = paired_test(std::vector{1.0, 2.0}, std::vector{1.0, 2.0});
  EXPECT_FALSE(same.t_p || same.low || same.high);
  EXPECT_EQ(same.signed_rank_p, 1);
  EXPECT_FALSE(paired_test(std::vector{2.0, 3.0}, std::vector{1.0, 2.0}).t_p.has_value());
}

TEST(PairedTests, PairsWhatDiffersInOneThing) {
  auto const row = [](char const* variant, char const* matching, std::int64_t spc, std::vector<double> draws) {
    ResultRow result;
    result.variant = variant;
    result.matching = matching;
    result.spc = spc;
    result.draws = std::ssize(draws);
    result.accuracy_by_draw = std::move(draws);
    return result;
  };
  auto const tests = paired_tests(
      {row("random", "", 1, {1, 2}), row("scdd", "dm", 1, {80, 82}), row("cells", "dm", 1, {70, 71}),
       row("cells", "dc", 1, {70, 71}), row("scdd", "dm", 10, {9, 9}), row("decoder", "dm", 1, {70, 71, 72})},
      "head");
  ASSERT_EQ(tests.size(), 2U);
  EXPECT_EQ(tests[0]["sets"], (nlohmann::json{"scdd-dm", "cells-dm"}));
  EXPECT_EQ(tests[0]["difference"], 10.5);
  EXPECT_EQ(tests[1]["sets"], (nlohmann::json{"cells-dm", "cells-dc"}));
  EXPECT_TRUE(tests[1]["interval"].is_null());
}

}  // namespace
