#include "retort/generate/flow_samplers.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

// Dormand and Prince's fifth-order pair: stage s is asked at `nodes[s]`, after a step along the earlier stages by
// `stages[s]`. The last stage is at the new state and is the next step's first.
constexpr std::array<double, 7> nodes{0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1};
constexpr std::array<std::array<double, 6>, 7> stages{
    {{},
     {1.0 / 5},
     {3.0 / 40, 9.0 / 40},
     {44.0 / 45, -56.0 / 15, 32.0 / 9},
     {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
     {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
     {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}}};
// Fifth order less fourth.
constexpr std::array<double, 7> error_weights{71.0 / 57600,      0,          -71.0 / 16695, 71.0 / 1920,
                                              -17253.0 / 339200, 22.0 / 525, -1.0 / 40};

double root_mean_square(at::Tensor const& x) { return std::sqrt(x.to(at::kDouble).square().mean().item<double>()); }

void require_finite_state(double norm, double t) {
  if (!std::isfinite(norm))
    fail(ExitCode::failed,
         "the cells are no finite numbers at time {:.4f} (the network's velocity exploded). Train it longer, or lower "
         "the guidance",
         t);
}

FlowResult dopri5(Velocity const& velocity, at::Tensor const& noise, double tolerance) {
  at::Tensor state = noise;
  std::array<at::Tensor, 7> slopes;
  slopes[0] = velocity(state, 0);
  std::int64_t calls = 1;
  auto const scaled = [tolerance](at::Tensor const& error, at::Tensor const& from, at::Tensor const& to) {
    return root_mean_square(error / (tolerance + tolerance * at::maximum(from.abs(), to.abs())));
  };
  // A first step by which the state moves a hundredth of its own size, or hardly at all where it has none.
  constexpr double least_step = 1e-8, first_of_zeros = 1e-6;
  double t = 0, step = std::clamp(0.01 * root_mean_square(state) / std::max(1e-10, root_mean_square(slopes[0])),
                                  first_of_zeros, 1.0);
  while (t < 1) {
    step = std::min(step, 1 - t);
    if (step < least_step && 1 - t > least_step)
      fail(ExitCode::failed,
           "dopri5 wants steps below {:g} at time {:.4f} (the velocity is too rough for the tolerance {:g}). Use "
           "generate.solver=heun",
           least_step, t, tolerance);
    at::Tensor next;
    for (std::size_t s = 1; s < stages.size(); ++s) {
      next = state;
      for (std::size_t earlier = 0; earlier < s; ++earlier)
        if (stages[s][earlier] != 0) next = next + slopes[earlier] * (step * stages[s][earlier]);
      slopes[s] = velocity(next, t + step * nodes[s]);
      ++calls;
    }
    at::Tensor error = slopes[0] * error_weights[0];
    for (std::size_t s = 2; s < slopes.size(); ++s) error = error + slopes[s] * error_weights[s];
    double const norm = scaled(error * step, state, next);
    require_finite_state(norm, t);
    if (norm <= 1) {
      t = step >= 1 - t ? 1 : t + step;
      state = next;
      slopes[0] = slopes[6];
    }
    constexpr double caution = 0.9, slowest = 0.2, fastest = 10;
    step *= std::clamp(caution * std::pow(std::max(norm, 1e-10), -0.2), slowest, norm <= 1 ? fastest : 1.0);
  }
  return {state, calls};
}

}  // namespace

FlowSolver flow_solver_of(std::string const& name) {
  if (name == "euler") return FlowSolver::euler;
  if (name == "heun") return FlowSolver::heun;
  if (name == "dopri5") return FlowSolver::dopri5;
  fail(ExitCode::usage, "generate.solver is '{}' (it is dopri5, heun or euler)", name);
}

FlowResult flow(Velocity const& velocity, at::Tensor const& noise, FlowSettings const& settings) {
  c10::InferenceMode const no_graph;
  if (settings.solver == FlowSolver::dopri5) return dopri5(velocity, noise, settings.tolerance);
  FlowResult result{noise, 0};
  double const step = 1.0 / static_cast<double>(settings.steps);
  for (std::int64_t k = 0; k < settings.steps; ++k) {
    double const t = static_cast<double>(k) * step;
    at::Tensor const slope = velocity(result.state, t);
    ++result.calls;
    if (settings.solver == FlowSolver::euler) {
      result.state = result.state + step * slope;
    } else {
      result.state = result.state + step / 2 * (slope + velocity(result.state + step * slope, t + step));
      ++result.calls;
    }
  }
  require_finite_state(root_mean_square(result.state), 1);
  return result;
}

Velocity guided(ScldmTransformer const& network, at::Tensor const& labels, std::vector<double> const& weights,
                Guidance guidance) {
  at::Tensor unlabelled = at::empty_like(labels);
  for (std::int64_t a = 0; a < labels.size(1); ++a) unlabelled.select(1, a).fill_(network.none(index(a)));
  std::vector<std::pair<double, at::Tensor>> terms;
  if (guidance == Guidance::joint) {
    double const mean =
        weights.empty() ? 0
                        : std::accumulate(weights.begin(), weights.end(), 0.0) / static_cast<double>(weights.size());
    if (mean != 0) terms.emplace_back(mean, labels);
  } else {
    for (std::size_t a = 0; a < weights.size(); ++a) {
      at::Tensor alone = unlabelled.clone();
      auto const column = static_cast<std::int64_t>(a);
      alone.select(1, column).copy_(labels.select(1, column));
      if (weights[a] != 0) terms.emplace_back(weights[a], alone);
    }
  }
  return [&network, unlabelled, terms](at::Tensor const& z, double t) {
    at::Tensor const times = at::full({z.size(0)}, t, at::kFloat);
    if (terms.size() == 1 && terms[0].first == 1) return network.velocity(z, times, terms[0].second);
    at::Tensor const bare = network.velocity(z, times, unlabelled);
    at::Tensor sum = bare;
    for (auto const& [weight, labelled] : terms) sum = sum + weight * (network.velocity(z, times, labelled) - bare);
    return sum;
  };
}

bool asks_for_unlabelled(std::vector<double> const& weights, Guidance guidance) {
  double const sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  return guidance == Guidance::additive
             ? std::ranges::count_if(weights, [](double weight) { return weight != 0; }) != 1 || sum != 1
             : sum != static_cast<double>(weights.size());
}

}  // namespace retort
