#include "retort/audits/gene_statistics.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::uint32_t sign =
    0x80000000U;  // a float's bits with the sign turned, or all turned below zero, sort as the numbers do

std::uint32_t key_of(float value) {
  auto const bits = std::bit_cast<std::uint32_t>(value);
  return bits & sign ? ~bits : bits | sign;
}

float value_of(std::uint64_t classed) {
  auto const key = static_cast<std::uint32_t>(classed >> 32);
  return std::bit_cast<float>(key & sign ? key ^ sign : ~key);
}

std::size_t class_of(std::uint64_t classed) { return static_cast<std::uint32_t>(classed); }

std::vector<double> mean_ranks(std::span<double const> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = 0.5 * static_cast<double>(begin + end + 1);
  }
  return ranks;
}

}  // namespace

std::uint64_t classed_value(float value, std::int32_t of_class) {
  return std::uint64_t{key_of(value)} << 32 | static_cast<std::uint32_t>(of_class);
}

std::int64_t GeneStatistics::all_cells() const { return std::accumulate(cells.begin(), cells.end(), std::int64_t{0}); }

void GeneStatistics::add_gene(std::span<std::uint64_t> classed_values) {
  std::sort(classed_values.begin(), classed_values.end());
  auto const first = sum.size();
  for (auto* statistic : {&nonzeros, &sum, &squares, &score}) statistic->resize(first + cells.size(), 0.0);
  double const n = static_cast<double>(all_cells());
  std::vector<double> ranks(cells.size(), 0.0);
  double ranked = 0, ties = 0, rank_of_zeros = 0;
  auto const next_rank = [&](double count) {  // of so many equal values
    double const rank = ranked + 0.5 * (count + 1);
    ranked += count;
    ties += count * (count * count - 1);
    return rank;
  };
  bool zeros_are_ranked = false;
  auto const rank_zeros = [&] {
    rank_of_zeros = next_rank(n - static_cast<double>(classed_values.size()));
    zeros_are_ranked = true;
  };
  for (std::size_t begin = 0, end = 0; begin < classed_values.size(); begin = end) {
    float const value = value_of(classed_values[begin]);
    if (!zeros_are_ranked && !(value < 0)) rank_zeros();
    while (end < classed_values.size() && classed_values[end] >> 32 == classed_values[begin] >> 32) ++end;
    double const rank = next_rank(static_cast<double>(end - begin)), x = static_cast<double>(value);
    for (std::size_t i = begin; i < end; ++i) {
      auto const c = class_of(classed_values[i]);
      ranks[c] += rank;
      ++nonzeros[first + c];
      sum[first + c] += x;
      squares[first + c] += x * x;
    }
  }
  if (!zeros_are_ranked) rank_zeros();
  for (std::size_t c = 0; c < cells.size(); ++c) {
    double const own = static_cast<double>(cells[c]), rest = n - own;
    if (own == 0 || rest == 0) continue;
    double const variance = own * rest / 12 * (n + 1 - ties / (n * (n - 1)));
    double const excess = ranks[c] + (own - nonzeros[first + c]) * rank_of_zeros - own * (n + 1) / 2;
    if (variance > 0) score[first + c] = excess / std::sqrt(variance);
  }
}

std::vector<double> GeneStatistics::folds(std::int64_t of_class) const {
  auto const width = cells.size(), c = index(of_class);
  double const own = static_cast<double>(cells[c]), rest = static_cast<double>(all_cells()) - own;
  std::vector<double> folds;
  for (std::size_t first = 0; first < sum.size(); first += width) {
    double others = 0;
    for (std::size_t other = 0; other < width; ++other) others += other == c ? 0 : sum[first + other];
    folds.push_back((sum[first + c] / own - others / rest) / std::numbers::ln2);
  }
  return folds;
}

std::vector<double> GeneStatistics::false_discovery_rates(std::int64_t of_class) const {
  auto const n = index(genes());
  std::vector<double> p(n), rates(n);
  for (std::size_t g = 0; g < n; ++g)
    p[g] = std::erfc(std::abs(score[g * cells.size() + index(of_class)]) / std::numbers::sqrt2);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] < p[b]; });
  double least = 1;
  for (std::size_t i = n; i-- > 0;)
    rates[order[i]] = least = std::min(least, p[order[i]] * static_cast<double>(n) / static_cast<double>(i + 1));
  return rates;
}

double spearman(std::span<double const> a, std::span<double const> b) {
  if (a.empty()) return std::numeric_limits<double>::quiet_NaN();
  auto const x = mean_ranks(a), y = mean_ranks(b);
  double const centre = 0.5 * static_cast<double>(x.size() + 1);
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - centre) * (x[i] - centre);
    yy += (y[i] - centre) * (y[i] - centre);
    xy += (x[i] - centre) * (y[i] - centre);
  }
  return xy / std::sqrt(xx * yy);
}

}  // namespace retort
