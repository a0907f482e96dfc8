#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "retort/audits/set_expression.hpp"

namespace retort {
namespace {

constexpr double library_size = 1e4;

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  auto const middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return values.size() % 2 ? *middle : 0.5 * (*middle + *std::max_element(values.begin(), middle));
}

// numpy.quantile's default.
double quantile(std::vector<double> const& sorted, double at) {
  double const place = at * static_cast<double>(sorted.size() - 1), below = std::floor(place);
  auto const i = static_cast<std::size_t>(below);
  return sorted[i] + (place - below) * (sorted[std::min(i + 1, sorted.size() - 1)] - sorted[i]);
}

double zeros_of(GeneStatistics const& statistics, std::size_t of_class) {
  double nonzeros = 0;
  for (std::size_t i = of_class; i < statistics.nonzeros.size(); i += statistics.cells.size())
    nonzeros += statistics.nonzeros[i];
  return 1 - nonzeros / static_cast<double>(statistics.cells[of_class] * statistics.genes());
}

// Deviation over mean, of all cells; 0 for a gene that nobody has. Rounded to float, so that genes which one cell has
// tie.
std::vector<double> variation(GeneStatistics const& statistics) {
  auto const classes = statistics.cells.size();
  double const n = static_cast<double>(statistics.all_cells());
  std::vector<double> of_genes;
  for (std::size_t first = 0; first < statistics.sum.size(); first += classes) {
    double sum = 0, squares = 0;
    for (std::size_t i = first; i < first + classes; ++i) {
      sum += statistics.sum[i];
      squares += statistics.squares[i];
    }
    double const of_gene = sum > 0 ? std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n))) / (sum / n) : 0;
    of_genes.push_back(static_cast<double>(static_cast<float>(of_gene)));
  }
  return of_genes;
}

}  // namespace

nlohmann::json audit_sparsity(Expression const& real, Expression const& distilled, DistilledSet const& set,
                              std::vector<std::string> const& names) {
  auto const genes = static_cast<double>(set.cells.size(1)), cells = static_cast<double>(set.cells.size(0));
  at::Tensor const detected = set.cells.ge(real.smallest).sum(1);    // [cells of the set]
  at::Tensor const sums = set.cells.to(at::kDouble).expm1().sum(1);  // [cells of the set]
  auto by_class = nlohmann::json::object();
  double real_zeros = 0, zeros = 0, real_detected = 0, low = 0, high = 0, classes = 0;
  std::int64_t inside = 0;
  for (std::size_t c = 0; c < names.size(); ++c) {
    if (!real.genes.cells[c] || !distilled.genes.cells[c]) continue;
    double const real_share = zeros_of(real.genes, c), share = zeros_of(distilled.genes, c);
    by_class[names[c]] = {{"real", real_share}, {"distilled", share}};
    std::vector<double> of_cells;
    for (std::size_t i = 0; i < real.labels.size(); ++i)
      if (real.labels[i] == static_cast<std::int32_t>(c)) of_cells.push_back(real.detected[i]);
    std::sort(of_cells.begin(), of_cells.end());
    double const from = quantile(of_cells, 0.05), to = quantile(of_cells, 0.95);
    inside +=
        (set.labels.eq(static_cast<std::int64_t>(c)) & detected.ge(from) & detected.le(to)).sum().item<std::int64_t>();
    real_zeros += real_share;
    zeros += share;
    real_detected += genes * (1 - real_share);
    low += from;
    high += to;
    ++classes;
  }
  auto const real_variation = variation(real.genes), own_variation = variation(distilled.genes);
  std::vector<double> of_real, of_set;
  for (std::size_t g = 0; g < real_variation.size(); ++g) {
    if (real_variation[g] == 0 || own_variation[g] == 0) continue;
    of_real.push_back(real_variation[g]);
    of_set.push_back(own_variation[g]);
  }
  double const mean_detected = detected.to(at::kDouble).mean().item<double>();
  return {{"zero_proportion",
           {{"real", real_zeros / classes},
            {"distilled", zeros / classes},
            {"below_smallest", 1 - mean_detected / genes},
            {"by_class", by_class}}},
          {"detected_genes",
           {{"real", real_detected / classes},
            {"real_interval", {low / classes, high / classes}},
            {"distilled", mean_detected},
            {"inside", static_cast<double>(inside) / cells}}},
          {"library_size",
           {{"by_construction", library_size},
            {"largest_deviation", (sums / library_size - 1).abs().max().item<double>()}}},
          {"coefficient_of_variation",
           {{"real", median(of_real)}, {"distilled", median(of_set)}, {"spearman", spearman(of_real, of_set)}}}};
}

}  // namespace retort
