#include "point_sets.hpp"

#include <ATen/ATen.h>

#include "retort/run/error.hpp"

namespace retort {
namespace {

at::Tensor checked(std::string const& measure, std::string const& set, at::Tensor const& cells, std::int64_t least) {
  if (!cells.defined() || cells.dim() != 2 || !cells.device().is_cpu() ||
      (cells.scalar_type() != at::kFloat && cells.scalar_type() != at::kDouble))
    fail(ExitCode::bad_input,
         "the {} of the {}cells cannot be taken (they are not a matrix of float32 or float64 on the CPU)", measure,
         set);
  if (cells.size(0) < least || !cells.size(1))
    fail(ExitCode::bad_input, "the {} cannot be taken of {} {}cells of {} values (it needs {} and 1)", measure,
         cells.size(0), set, cells.size(1), least);
  at::Tensor const broken = at::isfinite(cells).logical_not();
  if (broken.any().item<bool>()) {
    at::Tensor const first = broken.nonzero()[0];
    auto const row = first[0].item<std::int64_t>(), column = first[1].item<std::int64_t>();
    fail(ExitCode::bad_input, "the {}cells hold {} in row {}, column {} (the {} needs finite numbers)", set,
         cells[row][column].item<double>(), row, column, measure);
  }
  return cells.detach().to(at::kDouble).contiguous();
}

}  // namespace

at::Tensor checked_set(std::string const& measure, at::Tensor const& cells) { return checked(measure, "", cells, 1); }

PointSets checked_sets(std::string const& measure, at::Tensor const& real, at::Tensor const& generated,
                       std::int64_t least) {
  PointSets const sets{checked(measure, "real ", real, least), checked(measure, "generated ", generated, least)};
  if (sets.real.size(1) != sets.generated.size(1))
    fail(ExitCode::bad_input,
         "the real cells have {} values and the generated ones {} (the {} needs the same space for both)",
         sets.real.size(1), sets.generated.size(1), measure);
  return sets;
}

PointSets checked_pairs(std::string const& measure, at::Tensor const& real, at::Tensor const& generated) {
  PointSets const sets = checked_sets(measure, real, generated);
  if (sets.real.size(0) != sets.generated.size(0))
    fail(ExitCode::bad_input, "there are {} real and {} generated cells (the {} needs as many of each)",
         sets.real.size(0), sets.generated.size(0), measure);
  return sets;
}

at::Tensor distances_between(at::Tensor const& a, at::Tensor const& b, double p) {
  constexpr std::int64_t from_differences = 2;  // cdist's name for it: donot_use_mm_for_euclid_dist
  return at::cdist(a, b, p, from_differences);
}

}  // namespace retort
