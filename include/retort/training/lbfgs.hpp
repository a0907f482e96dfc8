// Minimises a smooth function of many numbers: limited-memory BFGS (Nocedal and Wright, Numerical
// Optimization, 7.4, 7.5).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace retort {

struct LbfgsOptions {
  std::int64_t most_iterations = 500;
  double tolerance = 1e-5;   // of the largest absolute gradient
  double least_gain = 1e-9;  // an iteration that gains relatively less than this ends the search
  std::size_t memory = 8;    // pairs of steps kept; each is two vectors of the size of x
};

struct Minimum {
  std::vector<double> x;
  double value = 0;
  double largest_gradient = 0;
  std::int64_t iterations = 0, evaluations = 0;
  bool converged = false;  // false: the iterations ran out
};

// The value at x; writes the gradient, which has x's size already.
using Objective = std::function<double(std::vector<double> const& x, std::vector<double>& gradient)>;

// Steps are halved until the value falls enough (Armijo). Deterministic: where the objective is collective and equal on
// all ranks, so is every step, and then this call is collective too.
Minimum minimise(Objective const& objective, std::vector<double> start, LbfgsOptions const& options = {});

}  // namespace retort
