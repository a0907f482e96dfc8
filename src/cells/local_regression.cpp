#include "retort/cells/local_regression.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr double cell_share = 0.2;    // of a neighbourhood's points: the most that a cell of the tree holds
constexpr double box_margin = 0.005;  // of the range, on each side

struct Fit {
  double at = 0, value = 0, slope = 0;
};

struct Points {
  std::vector<double> x, y;  // by rising x
  std::int64_t size() const { return std::ssize(x); }
};

Points sorted(std::span<double const> x, std::span<double const> y) {
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] < x[b]; });
  Points points;
  for (auto const i : order) {
    points.x.push_back(x[i]);
    points.y.push_back(y[i]);
  }
  return points;
}

// Where [first, last] is cut: at its median, or at the nearest place where the value changes.
std::int64_t cut_after(std::vector<double> const& x, std::int64_t first, std::int64_t last) {
  std::int64_t const middle = (first + last + 2) / 2 - 1;  // the reference counts from 1, and rounds there
  for (std::int64_t offset = 0; middle + offset < last && middle + offset >= first;) {
    auto const place = index(middle + offset);
    if (x[place] != x[place + 1]) return middle + offset;
    offset = offset > 0 ? -offset : 1 - offset;
  }
  return middle;
}

// The x at which the tree cuts (first, last) between its bounds, added to `cuts`.
void add_cuts(std::vector<double> const& x, std::int64_t first, std::int64_t last, double low, double high,
              std::int64_t largest, std::vector<double>& cuts) {
  if (last - first + 1 <= largest) return;
  std::int64_t const left = cut_after(x, first, last);
  double const cut = x[index(left)];
  if (cut == low || cut == high) return;
  cuts.push_back(cut);
  add_cuts(x, first, left, low, cut, largest, cuts);
  add_cuts(x, left + 1, last, cut, high, largest, cuts);
}

// The weighted quadratic around `at` of its `count` nearest points.
Fit fit_around(double at, Points const& points, std::int64_t count, double span) {
  auto const [begin, radius] = [&] {
    std::int64_t first = std::lower_bound(points.x.begin(), points.x.end(), at) - points.x.begin(), last = first;
    auto const apart = [&](std::int64_t i) { return std::abs(points.x[index(i)] - at); };
    while (last - first < count) {
      if (first == 0 || (last < points.size() && apart(last) < apart(first - 1)))
        ++last;
      else
        --first;
    }
    return std::pair(first, std::max(apart(first), apart(last - 1)) * std::sqrt(std::max(1.0, span)));
  }();
  if (radius <= 0)
    fail(ExitCode::bad_input,
         "a local regression has {} points at {} (a neighbourhood of zero width). Take a wider span than {}", count, at,
         span);
  at::Tensor const design = at::empty({count, 3}, at::kDouble), right = at::empty({count}, at::kDouble);
  auto rows = design.accessor<double, 2>();
  auto values = right.accessor<double, 1>();
  for (std::int64_t i = 0; i < count; ++i) {
    auto const point = index(begin + i);
    double const apart = points.x[point] - at, near = 1 - std::pow(std::abs(apart) / radius, 3),
                 weight = std::sqrt(std::max(near, 0.0) * near * near);
    rows[i][0] = weight;
    rows[i][1] = weight * apart;
    rows[i][2] = weight * apart * apart;
    values[i] = weight * points.y[point];
  }
  // Columns of unit length, then the pseudo-inverse: where points are too few for a quadratic, the smallest one.
  at::Tensor const length = design.norm(2, 0), scale = at::where(length > 0, length, 1.0);
  auto const [u, singular, v] = at::linalg_svd(design / scale, false);
  at::Tensor const kept = singular > singular[0] * 100 * std::numeric_limits<double>::epsilon();
  at::Tensor const coefficients = at::mv(v.t(), at::where(kept, at::mv(u.t(), right) / singular, 0.0)) / scale;
  return {at, coefficients[0].item<double>(), coefficients[1].item<double>()};
}

// The cubic between two fits.
double between(Fit const& left, Fit const& right, double x) {
  double const width = right.at - left.at, h = (x - left.at) / width, back = 1 - h;
  return back * back * (1 + 2 * h) * left.value + h * h * (3 - 2 * h) * right.value +
         h * back * (back * left.slope - h * right.slope) * width;
}

}  // namespace

std::vector<double> local_regression(std::span<double const> x, std::span<double const> y, double span) {
  Points const points = sorted(x, y);
  std::int64_t const n = points.size();
  auto const count = std::min(n, static_cast<std::int64_t>(std::floor(static_cast<double>(n) * span + 1e-5)));
  if (count < 3)
    fail(ExitCode::bad_input,
         "a local regression of {} points has {} in a neighbourhood (a quadratic needs 3). Take a wider span than {}",
         n, count, span);
  double const lowest = points.x.front(), highest = points.x.back();
  double const margin =
      box_margin * std::max(highest - lowest, 1e-10 * std::max(std::abs(lowest), std::abs(highest)) + 1e-30);
  std::vector<double> places{lowest - margin, highest + margin};
  add_cuts(points.x, 0, n - 1, places[0], places[1],
           static_cast<std::int64_t>(std::floor(static_cast<double>(n) * span * cell_share)), places);
  std::sort(places.begin(), places.end());
  std::vector<Fit> fits;
  for (double const place : places) fits.push_back(fit_around(place, points, count, span));

  std::vector<double> trend;
  trend.reserve(x.size());
  for (double const at : x) {
    auto const right = std::clamp(std::lower_bound(places.begin(), places.end(), at) - places.begin(),
                                  std::ptrdiff_t{1}, std::ssize(places) - 1);
    trend.push_back(between(fits[index(right - 1)], fits[index(right)], at));
  }
  return trend;
}

}  // namespace retort
