// Whether one way of distilling is better than another, over draws that began alike.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "retort/evaluate/results_table.hpp"

namespace retort {

struct PairedTest {
  double difference = 0;  // mean of a - b
  std::optional<double> low, high,
      t_p;                   // Student's paired t: 95 % interval and two-sided p; none where all differences are equal
  double signed_rank_p = 1;  // exact, Wilcoxon's signed-rank test: zeros left out, ties at mean ranks; two-sided
};

// a and b have the same length, at least two.
PairedTest paired_test(std::span<double const> a, std::span<double const> b);

// Of all pairs of distilled rows with the same SPC and number of draws (at least two) that differ in the variant or in
// the matching alone; draws are paired in their order. "difference" is first minus second, in points of accuracy. With
// five draws no exact p is below 0.0625.
nlohmann::json paired_tests(std::vector<ResultRow> const& rows, std::string const& classifier);

}  // namespace retort
