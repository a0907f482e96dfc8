#include "retort/audits/auc.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace retort {
namespace {

constexpr double z_95 = 1.959963984540054;

// For each of `scores` the share of `others` below it, ties half.
std::vector<double> shares_below(std::span<double const> scores, std::span<double const> others) {
  std::vector<double> sorted(others.begin(), others.end()), shares;
  std::sort(sorted.begin(), sorted.end());
  for (double const score : scores) {
    auto const [first, last] = std::equal_range(sorted.begin(), sorted.end(), score);
    shares.push_back(0.5 * static_cast<double>((first - sorted.begin()) + (last - sorted.begin())) /
                     static_cast<double>(sorted.size()));
  }
  return shares;
}

double mean(std::vector<double> const& values) {
  double sum = 0;
  for (double const value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// Of the mean of the values.
double variance_of_mean(std::vector<double> const& values) {
  double const centre = mean(values), n = static_cast<double>(values.size());
  double squares = 0;
  for (double const value : values) squares += (value - centre) * (value - centre);
  return squares / (n - 1) / n;
}

}  // namespace

Auc auc(std::span<double const> positives, std::span<double const> negatives) {
  auto const is_nan = [](double score) { return std::isnan(score); };
  constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
  if (std::any_of(positives.begin(), positives.end(), is_nan) ||
      std::any_of(negatives.begin(), negatives.end(), is_nan))
    return {nothing, nothing, nothing};
  auto const below = shares_below(positives, negatives), above = shares_below(negatives, positives);
  double const value = mean(below), reach = z_95 * std::sqrt(variance_of_mean(below) + variance_of_mean(above));
  return {value, std::max(0.0, value - reach), std::min(1.0, value + reach)};
}

}  // namespace retort
