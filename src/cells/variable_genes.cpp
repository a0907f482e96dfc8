#include "retort/cells/variable_genes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "retort/cells/local_regression.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

// By gene.
struct Moments {
  std::vector<double> mean, variance;
  std::vector<std::int64_t> seen_in;  // cells
};

template <class Visit>
void for_each_count(CsrBlock const& cells, Visit const& visit) {
  for (std::size_t k = 0; k < cells.indices.size(); ++k)
    visit(index(cells.indices[k]), static_cast<double>(cells.values[k]));
}

// Values of at least `least`.
Moments moments_of(CsrBlock const& cells, double least) {
  if (cells.rows() < 2)
    fail(ExitCode::bad_input, "variable genes cannot be told from {} cells (a variance needs 2)", cells.rows());
  auto const genes = index(cells.genes);
  auto const n = static_cast<double>(cells.rows());
  Moments all{std::vector<double>(genes), std::vector<double>(genes), std::vector<std::int64_t>(genes)};
  for_each_count(cells, [&](std::size_t gene, double count) {
    if (!(count >= least) || !std::isfinite(count))
      fail(ExitCode::bad_input, "a real cell holds {} of gene {} (it is no {})", count, gene,
           least == 0 ? "count" : "expression");
    all.mean[gene] += count;
    all.seen_in[gene] += count > 0;
  });
  std::vector<double> stored(genes);
  for (auto& mean : all.mean) mean /= n;
  for_each_count(cells, [&](std::size_t gene, double count) {
    all.variance[gene] += (count - all.mean[gene]) * (count - all.mean[gene]);
    stored[gene] += 1;
  });
  for (std::size_t gene = 0; gene < genes; ++gene)
    all.variance[gene] = (all.variance[gene] + (n - stored[gene]) * all.mean[gene] * all.mean[gene]) / (n - 1);
  return all;
}

// The deviation that the trend lets expect of each gene; 1 without a trend.
std::vector<double> expected_deviations(Moments const& moments, std::vector<bool> const& looked_at, double span) {
  std::vector<double> x, y;
  for (std::size_t gene = 0; gene < looked_at.size(); ++gene) {
    if (!looked_at[gene] || moments.variance[gene] <= 0) continue;
    x.push_back(std::log10(moments.mean[gene]));
    y.push_back(std::log10(moments.variance[gene]));
  }
  auto const trend = local_regression(x, y, span);
  std::vector<double> expected(looked_at.size(), 1.0);
  for (std::size_t gene = 0, k = 0; gene < looked_at.size(); ++gene)
    if (looked_at[gene] && moments.variance[gene] > 0) expected[gene] = std::sqrt(std::pow(10.0, trend[k++]));
  return expected;
}

std::vector<double> standardised_variances(CsrBlock const& cells, Moments const& moments,
                                           std::vector<bool> const& looked_at, std::vector<double> const& expected) {
  auto const n = static_cast<double>(cells.rows());
  std::vector<double> sums(expected.size()), squares(expected.size()), variance(expected.size());
  for_each_count(cells, [&](std::size_t gene, double count) {
    double const clipped = std::min(count, expected[gene] * std::sqrt(n) + moments.mean[gene]);
    sums[gene] += clipped;
    squares[gene] += clipped * clipped;
  });
  for (std::size_t gene = 0; gene < variance.size(); ++gene) {
    double const mean = moments.mean[gene];
    if (looked_at[gene])
      variance[gene] =
          (n * mean * mean + squares[gene] - 2 * sums[gene] * mean) / ((n - 1) * expected[gene] * expected[gene]);
  }
  return variance;
}

}  // namespace

VariableGenes variable_genes(CsrBlock const& counts, VariableGeneOptions const& options) {
  Moments const moments = moments_of(counts, 0);
  std::vector<bool> looked_at;
  for (auto const cells : moments.seen_in) looked_at.push_back(cells >= options.seen_in);
  VariableGenes chosen;
  chosen.genes.resize(index(counts.genes));
  std::iota(chosen.genes.begin(), chosen.genes.end(), 0);
  if (std::count(looked_at.begin(), looked_at.end(), true) <= options.count) return chosen;

  std::vector<double> expected;
  for (std::size_t attempt = 0; expected.empty(); ++attempt) {
    chosen.span = options.spans.at(attempt);
    try {
      expected = expected_deviations(moments, looked_at, chosen.span);
    } catch (Failure const&) {
      if (attempt + 1 == options.spans.size()) throw;
    }
  }
  chosen.variance = standardised_variances(counts, moments, looked_at, expected);
  auto ranked = chosen.variance;
  for (std::size_t gene = 0; gene < ranked.size(); ++gene)
    if (!looked_at[gene]) ranked[gene] = -std::numeric_limits<double>::infinity();
  chosen.genes = highest_genes(ranked, options.count);
  return chosen;
}

VariableGenes most_varying_genes(CsrBlock const& cells, std::int64_t count) {
  auto moments = moments_of(cells, std::numeric_limits<double>::lowest());
  VariableGenes chosen;
  chosen.genes = highest_genes(moments.variance, count);
  if (cells.genes > count) chosen.variance = std::move(moments.variance);
  return chosen;
}

std::vector<std::int32_t> highest_genes(std::span<double const> of_gene, std::int64_t count) {
  std::vector<std::int32_t> genes(of_gene.size());
  std::iota(genes.begin(), genes.end(), 0);
  std::stable_sort(genes.begin(), genes.end(),
                   [&](std::int32_t a, std::int32_t b) { return of_gene[index(a)] > of_gene[index(b)]; });
  genes.resize(std::min(genes.size(), index(count)));
  std::sort(genes.begin(), genes.end());
  return genes;
}

}  // namespace retort
