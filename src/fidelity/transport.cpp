#include "retort/fidelity/transport.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "point_sets.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();
using Index = std::size_t;

// Whole units of weight go from rows to columns. Reduced costs c - u - v stay >= 0, and are 0 where something flows; so
// the plan is the cheapest of its size, and optimal once nothing is left.
class TransportPlan {
 public:
  TransportPlan(double const* cost, Index rows, Index columns)
      : cost_(cost),
        rows_(rows),
        columns_(columns),
        of_row_(rows, infinite),
        of_column_(columns, infinite),
        into_(columns),
        supply_(rows, static_cast<std::int64_t>(columns / std::gcd(rows, columns))),
        demand_(columns, static_cast<std::int64_t>(rows / std::gcd(rows, columns))),
        reach_(columns),
        row_reach_(rows),
        reached_from_(columns),
        entered_by_(rows) {
    start();
    for (Index row = 0; row < rows_; ++row)
      while (supply_[row]) augment(row);
  }

  double mean_cost() const {
    double sum = 0, units = 0;
    for (Index column = 0; column < columns_; ++column) {
      for (auto const& [row, amount] : into_[column]) {
        sum += static_cast<double>(amount) * cost_of(row, column);
        units += static_cast<double>(amount);
      }
    }
    return sum / units;
  }

 private:
  struct Flow {
    Index row;
    std::int64_t amount;
  };

  double cost_of(Index row, Index column) const { return cost_[row * columns_ + column]; }

  // Potentials by reducing columns, then rows; what costs nothing is moved at once.
  void start() {
    for (Index row = 0; row < rows_; ++row)
      for (Index column = 0; column < columns_; ++column)
        of_column_[column] = std::min(of_column_[column], cost_of(row, column));
    for (Index row = 0; row < rows_; ++row) {
      Index cheapest = 0;
      for (Index column = 0; column < columns_; ++column) {
        double const reduced = cost_of(row, column) - of_column_[column];
        if (reduced >= of_row_[row]) continue;
        of_row_[row] = reduced;
        cheapest = column;
      }
      if (std::int64_t const amount = std::min(supply_[row], demand_[cheapest]); amount) move(row, cheapest, amount);
    }
  }

  void move(Index row, Index column, std::int64_t amount) {
    flow(row, column).amount += amount;
    supply_[row] -= amount;
    demand_[column] -= amount;
  }

  Flow& flow(Index row, Index column) {
    auto& flows = into_[column];
    auto const known = std::find_if(flows.begin(), flows.end(), [&](Flow const& one) { return one.row == row; });
    return known == flows.end() ? flows.emplace_back(Flow{row, 0}) : *known;
  }

  // Dijkstra from `source` over reduced costs to the nearest column with demand. A full column is left through the rows
  // that flow into it, at no cost: what they send may go elsewhere.
  Index nearest_demand(Index source) {
    std::fill(reach_.begin(), reach_.end(), infinite);
    std::fill(row_reach_.begin(), row_reach_.end(), infinite);
    remaining_.resize(columns_);
    std::iota(remaining_.begin(), remaining_.end(), Index{0});
    settled_columns_.clear();
    settled_rows_.clear();
    waiting_.assign(1, source);
    row_reach_[source] = 0;
    for (;;) {
      while (!waiting_.empty()) {
        Index const row = waiting_.back();
        waiting_.pop_back();
        settled_rows_.push_back(row);
        double const offset = row_reach_[row] - of_row_[row], *const costs = cost_ + row * columns_;
        for (Index const column : remaining_) {
          double const reach = offset + costs[column] - of_column_[column];
          if (reach >= reach_[column]) continue;
          reach_[column] = reach;
          reached_from_[column] = row;
        }
      }
      Index nearest = 0;
      for (Index k = 1; k < remaining_.size(); ++k) {
        double const apart = reach_[remaining_[k]] - reach_[remaining_[nearest]];
        if (apart < 0 || (apart == 0 && demand_[remaining_[k]] && !demand_[remaining_[nearest]])) nearest = k;
      }
      Index const column = remaining_[nearest];
      remaining_[nearest] = remaining_.back();
      remaining_.pop_back();
      if (demand_[column]) return column;
      settled_columns_.push_back(column);
      for (Flow const& one : into_[column]) {
        if (row_reach_[one.row] < infinite) continue;
        row_reach_[one.row] = reach_[column];
        entered_by_[one.row] = column;
        waiting_.push_back(one.row);
      }
    }
  }

  void augment(Index source) {
    Index const sink = nearest_demand(source);
    double const length = reach_[sink];
    for (Index const row : settled_rows_) of_row_[row] += length - row_reach_[row];
    for (Index const column : settled_columns_) of_column_[column] -= length - reach_[column];

    std::int64_t amount = std::min(supply_[source], demand_[sink]);
    for (Index row = reached_from_[sink]; row != source; row = reached_from_[entered_by_[row]])
      amount = std::min(amount, flow(row, entered_by_[row]).amount);
    Index column = sink;
    for (Index row = reached_from_[sink]; row != source; row = reached_from_[column]) {
      flow(row, column).amount += amount;
      column = entered_by_[row];
      flow(row, column).amount -= amount;
      std::erase_if(into_[column], [](Flow const& one) { return !one.amount; });
    }
    flow(source, column).amount += amount;
    supply_[source] -= amount;
    demand_[sink] -= amount;
  }

  double const* cost_;
  Index rows_, columns_;
  std::vector<double> of_row_, of_column_;     // potentials
  std::vector<std::vector<Flow>> into_;        // of each column
  std::vector<std::int64_t> supply_, demand_;  // left
  // Of the search: distances, the way back, what is settled and what is not.
  std::vector<double> reach_, row_reach_;
  std::vector<Index> reached_from_, entered_by_, remaining_, settled_columns_, settled_rows_, waiting_;
};

}  // namespace

double transport_cost(at::Tensor const& cost) {
  if (cost.dim() != 2 || !cost.numel() || cost.scalar_type() != at::kDouble || !at::isfinite(cost).all().item<bool>())
    fail(ExitCode::bad_input, "a transport has no cost (its costs are not a matrix of finite float64)");
  at::Tensor const matrix = cost.contiguous();
  return TransportPlan(matrix.const_data_ptr<double>(), static_cast<Index>(matrix.size(0)),
                       static_cast<Index>(matrix.size(1)))
      .mean_cost();
}

double wasserstein2(at::Tensor const& real, at::Tensor const& generated) {
  PointSets const sets = checked_sets("Wasserstein distance", real, generated);
  return std::sqrt(transport_cost(distances_between(sets.real, sets.generated).square_()));
}

double wasserstein1_of_values(at::Tensor const& real, at::Tensor const& generated) {
  PointSets const sets = checked_sets("Wasserstein distance", real, generated);
  at::Tensor const a = std::get<0>(at::sort(sets.real.flatten())), b = std::get<0>(at::sort(sets.generated.flatten()));
  double const *const x = a.const_data_ptr<double>(), *const y = b.const_data_ptr<double>();
  std::int64_t const n = a.numel(), m = b.numel();
  // Between two neighbouring values of either set both distribution functions are flat.
  double area = 0, from = std::min(x[0], y[0]);
  for (std::int64_t i = 0, j = 0; i < n || j < m;) {
    double const to = j == m || (i < n && x[i] <= y[j]) ? x[i] : y[j];
    area +=
        std::abs(static_cast<double>(i) / static_cast<double>(n) - static_cast<double>(j) / static_cast<double>(m)) *
        (to - from);
    from = to;
    while (i < n && x[i] == to) ++i;
    while (j < m && y[j] == to) ++j;
  }
  return area;
}

}  // namespace retort
