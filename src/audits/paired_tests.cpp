#include "retort/audits/paired_tests.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

// The chance that the signs of the ranks, all equally likely, give a sum as far from its middle. Ranks are halves of
// whole numbers, so sums are counted exactly over twice the ranks.
double signed_rank_p(std::vector<double> differences) {
  std::erase(differences, 0.0);
  std::sort(differences.begin(), differences.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
  std::vector<double> chance{1};  // of each doubled sum of the positive ranks
  std::size_t positive = 0;
  for (std::size_t begin = 0, end = 0; begin < differences.size(); begin = end) {
    while (end < differences.size() && std::abs(differences[end]) == std::abs(differences[begin])) ++end;
    std::size_t const doubled_rank = begin + end + 1;
    for (std::size_t i = begin; i < end; ++i) {
      if (differences[i] > 0) positive += doubled_rank;
      std::vector<double> next(chance.size() + doubled_rank);
      for (std::size_t sum = 0; sum < chance.size(); ++sum) {
        next[sum] += chance[sum] / 2;
        next[sum + doubled_rank] += chance[sum] / 2;
      }
      chance = std::move(next);
    }
  }
  double below = 0, above = 0;
  for (std::size_t sum = 0; sum < chance.size(); ++sum) {
    if (sum <= positive) below += chance[sum];
    if (sum >= positive) above += chance[sum];
  }
  return std::min(1.0, 2 * std::min(below, above));
}

nlohmann::json or_null(std::optional<double> const& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

}  // namespace

PairedTest paired_test(std::span<double const> a, std::span<double const> b) {
  double const n = static_cast<double>(a.size());
  std::vector<double> differences;
  PairedTest test;
  for (std::size_t i = 0; i < a.size(); ++i) test.difference += differences.emplace_back(a[i] - b[i]) / n;
  double squares = 0;
  for (double const one : differences) squares += (one - test.difference) * (one - test.difference);
  test.signed_rank_p = signed_rank_p(differences);
  bool const are_equal =
      std::all_of(differences.begin(), differences.end(), [&](double one) { return one == differences[0]; });
  if (are_equal) return test;
  boost::math::students_t const student(n - 1);
  double const error = std::sqrt(squares / (n - 1) / n), reach = error * boost::math::quantile(student, 0.975);
  test.low = test.difference - reach;
  test.high = test.difference + reach;
  test.t_p = 2 * boost::math::cdf(boost::math::complement(student, std::abs(test.difference) / error));
  return test;
}

nlohmann::json paired_tests(std::vector<ResultRow> const& rows, std::string const& classifier) {
  auto tests = nlohmann::json::array();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = i + 1; j < rows.size(); ++j) {
      auto const &a = rows[i], &b = rows[j];
      bool const are_distilled = !a.matching.empty() && !b.matching.empty();
      bool const differ_in_one = (a.variant == b.variant) != (a.matching == b.matching);
      if (!are_distilled || !differ_in_one || a.spc != b.spc || a.draws != b.draws || a.draws < 2) continue;
      auto const test = paired_test(a.accuracy_by_draw, b.accuracy_by_draw);
      tests.push_back({{"classifier", classifier},
                       {"spc", a.spc},
                       {"sets", {a.variant + "-" + a.matching, b.variant + "-" + b.matching}},
                       {"draws", a.draws},
                       {"difference", test.difference},
                       {"interval", test.low ? nlohmann::json{*test.low, *test.high} : nlohmann::json(nullptr)},
                       {"t_p", or_null(test.t_p)},
                       {"signed_rank_p", test.signed_rank_p}});
    }
  }
  return tests;
}

}  // namespace retort
