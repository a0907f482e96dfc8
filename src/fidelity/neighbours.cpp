#include "retort/fidelity/neighbours.hpp"

#include <ATen/ATen.h>

#include <limits>

#include "point_sets.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

// Summed over the cells of `own`: the share of their nearest other cells that are of `own`.
double own_neighbours(at::Tensor const& own, at::Tensor const& other) {
  double sum = 0;
  for_each_block(own, [&](std::int64_t begin, at::Tensor const& rows) {
    at::Tensor const to_own = distances_between(rows, own), to_other = distances_between(rows, other);
    at::diagonal(to_own, begin).fill_(std::numeric_limits<double>::infinity());  // not itself
    at::Tensor const nearest = at::minimum(to_own.amin(1), to_other.amin(1)).unsqueeze(1);
    at::Tensor const of_own = (to_own == nearest).sum(1), of_other = (to_other == nearest).sum(1);
    sum += (of_own / (of_own + of_other).to(at::kDouble)).sum().item<double>();
  });
  return sum;
}

double norm_of(Balls balls) { return balls == Balls::open_l1 ? 1 : 2; }

// Distance of each cell to its k-th nearest other one, [n].
at::Tensor radii(at::Tensor const& cells, std::int64_t k, Balls balls) {
  at::Tensor const out = at::empty({cells.size(0)}, at::kDouble);
  for_each_block(cells, [&](std::int64_t begin, at::Tensor const& rows) {
    // The cell itself, 0 away, is among the k + 1 nearest.
    out.narrow(0, begin, rows.size(0))
        .copy_(std::get<0>(at::kthvalue(distances_between(rows, cells, norm_of(balls)), k + 1, 1)));
  });
  return out;
}

// Share of `cells` that lie in a ball around one of `centres`.
double covered(at::Tensor const& cells, at::Tensor const& centres, at::Tensor const& radius, Balls balls) {
  std::int64_t inside = 0;
  for_each_block(cells, [&](std::int64_t, at::Tensor const& rows) {
    at::Tensor const apart = distances_between(rows, centres, norm_of(balls));
    inside += (balls == Balls::open_l1 ? apart < radius : apart <= radius).any(1).sum().item<std::int64_t>();
  });
  return static_cast<double>(inside) / static_cast<double>(cells.size(0));
}

}  // namespace

NeighbourAccuracy nearest_neighbour_accuracy(at::Tensor const& real, at::Tensor const& generated) {
  PointSets const sets = checked_sets("nearest-neighbour accuracy", real, generated);
  auto const n = static_cast<double>(sets.real.size(0)), m = static_cast<double>(sets.generated.size(0));
  double const of_real = own_neighbours(sets.real, sets.generated),
               of_generated = own_neighbours(sets.generated, sets.real);
  return {(of_real + of_generated) / (n + m), of_real / n, of_generated / m};
}

Overlap precision_and_recall(at::Tensor const& real, at::Tensor const& generated, std::int64_t k, Balls balls) {
  if (k < 1) fail(ExitCode::usage, "a ball reaches to neighbour {} (the nearest one is 1)", k);
  PointSets const sets = checked_sets("precision and recall", real, generated, k + 1);
  return {covered(sets.generated, sets.real, radii(sets.real, k, balls), balls),
          covered(sets.real, sets.generated, radii(sets.generated, k, balls), balls)};
}

}  // namespace retort
