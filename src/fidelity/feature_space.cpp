#include "retort/fidelity/feature_space.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows_at_once = 1024;  // fixed: a product's last bits depend on its rows

// The chosen genes of some rows, scaled to `target_sum` and log1p, or as they are where it is 0; [rows, chosen]
// float64.
at::Tensor expression(CsrBlock const& cells, std::int64_t first, std::int64_t rows,
                      std::vector<std::int64_t> const& column, std::int64_t chosen, double target_sum) {
  bool const are_counts = target_sum > 0;
  at::Tensor const dense = at::zeros({rows, chosen}, at::kDouble);
  auto to = dense.accessor<double, 2>();
  for (std::int64_t row = 0; row < rows; ++row) {
    auto const begin = index(cells.indptr[index(first + row)]), end = index(cells.indptr[index(first + row) + 1]);
    double sum = 0;
    for (std::size_t k = begin; k < end; ++k) {
      auto const value = static_cast<double>(cells.values[k]);
      if (!std::isfinite(value) || (are_counts && value < 0))
        fail(ExitCode::bad_input, "cell {} holds {} of gene {} (it is no {})", first + row, value, cells.indices[k],
             are_counts ? "count" : "expression");
      auto const place = column[index(cells.indices[k])];
      if (place < 0) continue;
      to[row][place] = value;
      sum += value;
    }
    if (are_counts && sum > 0) dense[row].mul_(target_sum / sum);
  }
  return are_counts ? dense.log1p_() : dense;
}

}  // namespace

FeatureSpace FeatureSpace::fit(CsrBlock const& real_cells, FeatureSpaceOptions const& options) {
  FeatureSpace space;
  space.variable_ = options.log_normalised ? most_varying_genes(real_cells, options.variable.count)
                                           : variable_genes(real_cells, options.variable);
  space.target_sum_ = options.log_normalised ? 0 : options.target_sum;
  space.column_.assign(index(real_cells.genes), -1);
  auto const chosen = std::ssize(space.variable_.genes), cells = real_cells.rows();
  for (std::int64_t i = 0; i < chosen; ++i) space.column_[index(space.variable_.genes[index(i)])] = i;

  auto const blocks = [&](auto const& visit) {
    for (std::int64_t first = 0; first < cells; first += rows_at_once)
      visit(expression(real_cells, first, std::min(rows_at_once, cells - first), space.column_, chosen,
                       space.target_sum_));
  };
  space.mean_ = at::zeros({chosen}, at::kDouble);
  blocks([&](at::Tensor const& rows) { space.mean_ += rows.sum(0); });
  space.mean_ /= cells;
  at::Tensor covariance = at::zeros({chosen, chosen}, at::kDouble);
  blocks([&](at::Tensor const& rows) {
    at::Tensor const centred = rows - space.mean_;
    covariance.addmm_(centred.t(), centred);
  });
  covariance /= cells - 1;

  auto const [values, vectors] = at::linalg_eigh(covariance);  // rising
  // Beyond the directions that the cells span, an axis is whatever rounding makes it.
  double const largest = values[-1].item<double>();
  std::int64_t const spanned = largest > 0 ? (values > 1e-12 * largest).sum().item<std::int64_t>() : 0;
  std::int64_t const kept = std::min({options.components, spanned, cells - 1});
  if (kept < 1) fail(ExitCode::bad_input, "{} real cells span no direction (they are all alike)", cells);
  space.spread_ = values.narrow(0, chosen - kept, kept).flip(0).contiguous();
  at::Tensor const axes = vectors.narrow(1, chosen - kept, kept).flip(1);
  at::Tensor const heaviest = axes.gather(0, axes.abs().argmax(0, true));  // [1, kept]
  space.loadings_ = (axes * heaviest.sign()).contiguous();
  return space;
}

at::Tensor FeatureSpace::project(CsrBlock const& cells) const {
  if (cells.genes != std::ssize(column_))
    fail(ExitCode::bad_input, "the cells have {} genes and the feature space {} (they must be the same genes)",
         cells.genes, column_.size());
  at::Tensor const out = at::empty({cells.rows(), components()}, at::kDouble);
  for (std::int64_t first = 0; first < cells.rows(); first += rows_at_once) {
    std::int64_t const rows = std::min(rows_at_once, cells.rows() - first);
    out.narrow(0, first, rows)
        .copy_(at::mm(expression(cells, first, rows, column_, std::ssize(variable_.genes), target_sum_) - mean_,
                      loadings_));
  }
  return out;
}

}  // namespace retort
