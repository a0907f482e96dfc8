#include "retort/training/lbfgs.hpp"

#include <algorithm>
#include <cmath>
#include <deque>

namespace retort {
namespace {

struct Pair {
  std::vector<double> step, change;  // of x, of the gradient
  double curvature;                  // step . change, above zero
};

double dot(std::vector<double> const& a, std::vector<double> const& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void add_scaled(std::vector<double>& to, double factor, std::vector<double> const& what) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += factor * what[i];
}

double largest_of(std::vector<double> const& values) {
  double largest = 0;
  for (double const value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// The two-loop recursion: minus the approximate inverse Hessian times the gradient.
std::vector<double> direction_of(std::vector<double> const& gradient, std::deque<Pair> const& pairs) {
  auto direction = gradient;
  std::vector<double> share(pairs.size());
  for (std::size_t i = pairs.size(); i-- > 0;) {
    share[i] = dot(pairs[i].step, direction) / pairs[i].curvature;
    add_scaled(direction, -share[i], pairs[i].change);
  }
  double const scale = pairs.empty() ? 1.0 / std::max(1.0, std::sqrt(dot(gradient, gradient)))
                                     : pairs.back().curvature / dot(pairs.back().change, pairs.back().change);
  for (double& value : direction) value *= -scale;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    add_scaled(direction, -share[i] - dot(pairs[i].change, direction) / pairs[i].curvature, pairs[i].step);
  return direction;
}

}  // namespace

Minimum minimise(Objective const& objective, std::vector<double> start, LbfgsOptions const& options) {
  Minimum at;
  at.x = std::move(start);
  std::vector<double> gradient(at.x.size()), next_gradient(at.x.size());
  at.value = objective(at.x, gradient);
  at.evaluations = 1;
  at.largest_gradient = largest_of(gradient);
  std::deque<Pair> pairs;
  while (at.iterations < options.most_iterations && at.largest_gradient > options.tolerance) {
    auto const direction = direction_of(gradient, pairs);
    double const slope = dot(gradient, direction);
    std::vector<double> next;
    double value = at.value, length = 1;
    bool lower = false;
    for (int halving = 0; halving < 30 && !lower; ++halving, length /= 2) {
      next = at.x;
      add_scaled(next, length, direction);
      value = objective(next, next_gradient);
      ++at.evaluations;
      lower = value <= at.value + 1e-4 * length * slope;
    }
    ++at.iterations;
    if (!lower && pairs.empty()) break;  // not even along the gradient: rounding is all that is left
    if (!lower) {
      pairs.clear();
      continue;
    }
    Pair pair{next, next_gradient, 0};
    add_scaled(pair.step, -1, at.x);
    add_scaled(pair.change, -1, gradient);
    pair.curvature = dot(pair.step, pair.change);
    double const gain = at.value - value;
    at.x = std::move(next);
    at.value = value;
    std::swap(gradient, next_gradient);
    at.largest_gradient = largest_of(gradient);
    if (gain <= options.least_gain * std::max(1.0, std::abs(value))) break;
    if (pair.curvature <= 0) continue;  // the pair would break positive definiteness
    if (pairs.size() == options.memory) pairs.pop_front();
    pairs.push_back(std::move(pair));
  }
  at.converged = at.iterations < options.most_iterations;
  return at;
}

}  // namespace retort
