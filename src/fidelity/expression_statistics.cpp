#include "retort/fidelity/expression_statistics.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "point_sets.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

void same_genes(GeneSpread const& real, GeneSpread const& generated) {
  if (real.mean.numel() != generated.mean.numel())
    fail(ExitCode::bad_input, "the real cells have {} genes and the generated ones {} (they must be the same genes)",
         real.mean.numel(), generated.mean.numel());
}

}  // namespace

double GeneSpread::zero_proportion() const { return zeros.mean().item<double>(); }

at::Tensor GeneSpread::coefficient_of_variation() const {
  return at::where(mean == 0, std::numeric_limits<double>::quiet_NaN(), deviation / mean);
}

GeneSpread gene_spread(at::Tensor const& cells) {
  at::Tensor const x = checked_set("spread of genes", cells);
  return {(x == 0).to(at::kDouble).mean(0), x.mean(0), x.std(0, false)};
}

GeneSpread gene_spread(CsrBlock const& cells) {
  if (!cells.rows() || !cells.genes)
    fail(ExitCode::bad_input, "the spread of genes cannot be taken of {} cells of {} genes (it needs 1 of each)",
         cells.rows(), cells.genes);
  GeneSpread const spread{at::zeros({cells.genes}, at::kDouble), at::zeros({cells.genes}, at::kDouble),
                          at::zeros({cells.genes}, at::kDouble)};
  at::Tensor const stored = at::zeros({cells.genes}, at::kDouble);
  double *const zeros = spread.zeros.mutable_data_ptr<double>(), *const mean = spread.mean.mutable_data_ptr<double>();
  double *const squares = spread.deviation.mutable_data_ptr<double>(), *const held = stored.mutable_data_ptr<double>();
  auto const n = static_cast<double>(cells.rows());
  for (std::size_t k = 0; k < cells.indices.size(); ++k) {
    auto const value = static_cast<double>(cells.values[k]);
    if (!std::isfinite(value))
      fail(ExitCode::bad_input, "a cell holds {} of gene {} (the spread of genes needs finite numbers)", value,
           cells.indices[k]);
    mean[cells.indices[k]] += value;
    zeros[cells.indices[k]] += value != 0;
    held[cells.indices[k]] += 1;
  }
  spread.zeros.neg_().add_(n).div_(n);
  spread.mean.div_(n);
  for (std::size_t k = 0; k < cells.indices.size(); ++k) {
    double const apart = static_cast<double>(cells.values[k]) - mean[cells.indices[k]];
    squares[cells.indices[k]] += apart * apart;
  }
  spread.deviation.add_((n - stored) * spread.mean.square()).div_(n).sqrt_();
  return spread;
}

double zero_gap(GeneSpread const& real, GeneSpread const& generated) {
  same_genes(real, generated);
  return (real.zeros - generated.zeros).abs().mean().item<double>();
}

double variation_gap(GeneSpread const& real, GeneSpread const& generated, double least_mean) {
  same_genes(real, generated);
  at::Tensor const on = (real.mean > least_mean).logical_and(generated.mean > least_mean);
  return (real.coefficient_of_variation() - generated.coefficient_of_variation())
      .abs()
      .masked_select(on)
      .mean()
      .item<double>();
}

double softmax_divergence(at::Tensor const& real, at::Tensor const& generated) {
  PointSets const sets = checked_pairs("divergence", real, generated);
  at::Tensor const of_real = at::log_softmax(sets.real, 1), of_generated = at::log_softmax(sets.generated, 1);
  return (of_real.exp() * (of_real - of_generated)).sum(1).mean().item<double>();
}

double gene_correlation(at::Tensor const& real, at::Tensor const& generated, std::int64_t cells_per_batch) {
  PointSets const sets = checked_pairs("correlation of genes", real, generated);
  std::int64_t const cells = sets.real.size(0), batch = cells_per_batch > 0 ? cells_per_batch : cells;
  double sum = 0, weight = 0;
  for (std::int64_t first = 0; first < cells; first += batch) {
    std::int64_t const rows = std::min(batch, cells - first);
    at::Tensor const x = sets.real.narrow(0, first, rows), y = sets.generated.narrow(0, first, rows);
    // Asked of the values: a constant gene need not be equal to its rounded mean.
    at::Tensor const varies = (x.amax(0) > x.amin(0)).logical_and(y.amax(0) > y.amin(0));
    if (!varies.any().item<bool>()) continue;
    at::Tensor const a = x - x.mean(0), b = y - y.mean(0);
    at::Tensor const correlation = ((a * b).sum(0) / (a.norm(2, 0) * b.norm(2, 0))).clamp(-1, 1);  // [genes]
    sum += static_cast<double>(rows) * correlation.masked_select(varies).mean().item<double>();
    weight += static_cast<double>(rows);
  }
  return weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN();
}

double mean_squared_error(at::Tensor const& real, at::Tensor const& generated) {
  PointSets const sets = checked_pairs("squared error", real, generated);
  return (sets.real - sets.generated).square().mean().item<double>();
}

}  // namespace retort
