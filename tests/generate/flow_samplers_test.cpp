// The solvers on equations with known solutions, and guidance as its formulas have it.
#include "retort/generate/flow_samplers.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "../models/ten_adamw_losses.hpp"
#include "retort/files/safetensors.hpp"

namespace retort {
namespace {

// dz/dt = (sin 3t - 1) z from z0: z0 exp((1 - cos 3t) / 3 - t). In double precision, so that orders show.
at::Tensor decaying(at::Tensor const& z, double t) { return (std::sin(3 * t) - 1) * z; }
double const decayed = std::exp((1 - std::cos(3.0)) / 3 - 1);

at::Tensor some_start() { return at::linspace(-2, 3, 12, at::kDouble).view({3, 4}); }

double error_of(FlowSettings const& settings) {
  return (flow(decaying, some_start(), settings).state - decayed * some_start()).abs().max().item<double>();
}

TEST(FlowSolver, Names) {
  EXPECT_EQ(flow_solver_of("euler"), FlowSolver::euler);
  EXPECT_EQ(flow_solver_of("heun"), FlowSolver::heun);
  EXPECT_EQ(flow_solver_of("dopri5"), FlowSolver::dopri5);
  EXPECT_NE(failure_of(ExitCode::usage, [] { flow_solver_of("rk4"); }).find("'rk4'"), std::string::npos);
}

TEST(Flow, OrdersOfConvergence) {
  for (auto const& [solver, order] : {std::pair{FlowSolver::euler, 1}, std::pair{FlowSolver::heun, 2}}) {
    double const coarse = error_of({solver, 40, 0}), fine = error_of({solver, 80, 0});
    EXPECT_NEAR(std::log2(coarse / fine), order, 0.1);
    EXPECT_EQ(flow(decaying, some_start(), {solver, 40, 0}).calls, 40 * order);
  }
  // Its error goes with the tolerance; its calls with the fifth root of it.
  for (double const tolerance : {1e-3, 1e-5, 1e-7, 1e-9})
    EXPECT_LT(error_of({FlowSolver::dopri5, 0, tolerance}), tolerance);
  auto const calls = [](double tolerance) {
    return static_cast<double>(flow(decaying, some_start(), {FlowSolver::dopri5, 0, tolerance}).calls);
  };
  EXPECT_NEAR(std::log10(calls(1e-11) / calls(1e-7)) / 4, 0.2, 0.06);
}

TEST(Flow, AsksAtTheTimesOfTheSteps) {
  std::vector<double> times;
  Velocity const still = [&](at::Tensor const& z, double t) {
    times.push_back(t);
    return at::zeros_like(z);
  };
  at::Tensor const noise = at::ones({2, 3});
  flow(still, noise, {FlowSolver::euler, 4, 0});
  EXPECT_EQ(times, (std::vector<double>{0, 0.25, 0.5, 0.75}));
  times.clear();
  flow(still, noise, {FlowSolver::heun, 2, 0});
  EXPECT_EQ(times, (std::vector<double>{0, 0.5, 0.5, 1}));
  times.clear();
  auto const one_step = flow(still, noise, {});  // nothing moves: one step is enough
  EXPECT_EQ(times, (std::vector<double>{0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1}));
  EXPECT_EQ(one_step.calls, 7);
  EXPECT_TRUE(at::equal(one_step.state, noise));
}

TEST(Flow, AStraightFieldEndsAtItsCell) {
  // What a network that knows the one cell there is would say: straight there, in float32 and from zero, too.
  at::Tensor const cell = at::linspace(-3, 5, 6);
  for (at::Tensor const& noise : {at::randn({4, 6}), at::zeros({4, 6})})
    for (auto const solver : {FlowSolver::euler, FlowSolver::heun, FlowSolver::dopri5}) {
      auto const result =
          flow([&](at::Tensor const& z, double) { return (cell - noise).expand_as(z); }, noise, {solver, 50, 1e-5});
      EXPECT_LT((result.state - cell).abs().max().item<float>(), 1e-5F);
    }
}

TEST(Flow, Dopri5IsAsGoodAsScipys) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "flow_samplers");
  // Not linear, and with a bend that a fixed step would miss.
  auto const velocity = [](at::Tensor const& z, double t) {
    return at::sin(3 * z.roll(1, 1)) - 40 * (t - 0.5) * std::exp(-200 * (t - 0.5) * (t - 0.5)) * z;
  };
  Safetensors check;
  for (auto const type : {at::kFloat, at::kDouble}) {
    auto const result =
        flow(velocity, some_start().to(type), {FlowSolver::dopri5, 0, type == at::kFloat ? 1e-5 : 1e-8});
    check.tensors[type == at::kFloat ? "float" : "double"] =
        at::stack({result.state, result.state - result.state.to(at::kFloat)}).to(at::kFloat);  // files hold no float64
    check.tensors[type == at::kFloat ? "float calls" : "double calls"] = at::tensor(result.calls);
  }
  write_safetensors(folder / "check.safetensors", check);
  EXPECT_TRUE(python_agrees(folder.path, R"py(
import numpy as np
from scipy.integrate import solve_ivp
from safetensors.numpy import load_file
c = load_file('check.safetensors')
start = np.linspace(-2, 3, 12)
def velocity(t, z):
    z = z.reshape(3, 4)
    return (np.sin(3 * np.roll(z, 1, 1)) - 40 * (t - .5) * np.exp(-200 * (t - .5) ** 2) * z).ravel()
solve = lambda method, tolerance: solve_ivp(velocity, (0, 1), start, method, rtol=tolerance, atol=tolerance)
wanted = solve('DOP853', 1e-12).y[:, -1].reshape(3, 4)
for name, tolerance in ('float', 1e-5), ('double', 1e-8):
    theirs = solve('RK45', tolerance)  # the same pair of formulas
    apart, calls = np.abs(c[name].astype(float).sum(0) - wanted).max() / np.abs(wanted).max(), c[name + ' calls'].item()
    rk45 = np.abs(theirs.y[:, -1].reshape(3, 4) - wanted).max() / np.abs(wanted).max()
    print(name, 'apart', apart, 'RK45', rk45, 'calls', calls, theirs.nfev)
    assert apart < 5 * tolerance
    assert .6 < calls / theirs.nfev < 1.3
)py"));
}

TEST(Flow, RefusesWhatIsNotFinite) {
  for (float const value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (auto const solver : {FlowSolver::euler, FlowSolver::heun, FlowSolver::dopri5})
      for (double const since : {0.0, 0.4}) {
        Velocity const exploding = [&](at::Tensor const& z, double t) {
          return t < since ? at::zeros_like(z) : at::full_like(z, value);
        };
        EXPECT_NE(failure_of(ExitCode::failed,
                             [&] {
                               flow(exploding, at::ones({2, 3}), {solver, 10, 1e-5});
                             })
                      .find("no finite numbers"),
                  std::string::npos);
      }
  // It jumps at every number: no step is small enough.
  Velocity const rough = [jump = 1.0](at::Tensor const& z, double) mutable {
    return at::full_like(z, 1e6 * (jump = -jump));
  };
  EXPECT_NE(failure_of(ExitCode::failed,
                       [&] {
                         flow(rough, at::ones({2, 3}), {});
                       })
                .find("too rough"),
            std::string::npos);
}

class Guided : public testing::Test {
 protected:
  Guided() { shake(network.parameters(), 0.1); }

  at::Tensor asked(std::vector<std::int64_t> const& pair) const {
    return network.velocity(z, at::full({3}, 0.3), at::tensor(pair, at::kLong).view({1, 2}).expand({3, 2}));
  }
  at::Tensor guided_by(std::vector<double> const& weights, Guidance guidance) const {
    return guided(network, labels, weights, guidance)(z, 0.3);
  }
  static double apart(at::Tensor const& a, at::Tensor const& b) { return (a - b).abs().max().item<double>(); }

  c10::InferenceMode const no_graph;
  ScldmTransformer const network{{.tokens = 4,
                                  .latent = 6,
                                  .width = 32,
                                  .blocks = 1,
                                  .heads = 4,
                                  .attributes = {{"type", {"a", "b", "c"}}, {"stimulus", {"no", "yes"}}}},
                                 3};
  at::Tensor const z = at::randn({3, 4, 6});
  at::Tensor const labels = at::tensor({2, 1}, at::kLong).view({1, 2}).expand({3, 2}).contiguous();
};

TEST_F(Guided, WeightsOfOneAndZeroAreTheNetworksOwn) {
  EXPECT_TRUE(at::equal(guided_by({1, 1}, Guidance::joint), asked({2, 1})));
  EXPECT_TRUE(at::equal(guided_by({0, 0}, Guidance::joint), asked({3, 2})));
  EXPECT_TRUE(at::equal(guided_by({0, 0}, Guidance::additive), asked({3, 2})));
  EXPECT_TRUE(at::equal(guided_by({0, 1}, Guidance::additive), asked({3, 1})));
}

TEST(AsksForUnlabelled, WhereAWeightIsNotOne) {
  for (auto const& weights : {std::vector<double>{1}, {1, 1}, {0.5, 1.5}})
    EXPECT_FALSE(asks_for_unlabelled(weights, Guidance::joint));
  for (auto const& weights : {std::vector<double>{0}, {2}, {1, 2}, {0, 1}})
    EXPECT_TRUE(asks_for_unlabelled(weights, Guidance::joint));
  for (auto const& weights : {std::vector<double>{1}, {0, 1}, {1, 0}})
    EXPECT_FALSE(asks_for_unlabelled(weights, Guidance::additive));
  for (auto const& weights : {std::vector<double>{0, 0}, {1, 1}, {2, 0}, {0.5, 0.5}})
    EXPECT_TRUE(asks_for_unlabelled(weights, Guidance::additive));
}

TEST_F(Guided, Formulas) {
  at::Tensor const none = asked({3, 2}), both = asked({2, 1}), type = asked({2, 2}), stimulus = asked({3, 1});
  EXPECT_GT(apart(both, none), 1e-2);
  EXPECT_GT(apart(both, type), 1e-2);
  EXPECT_LT(apart(guided_by({2, 2}, Guidance::joint), 2 * both - none), 1e-5);
  EXPECT_LT(apart(guided_by({1, 4}, Guidance::joint), none + 2.5 * (both - none)), 1e-5);
  EXPECT_LT(apart(guided_by({2, 0.5}, Guidance::additive), none + 2 * (type - none) + 0.5 * (stimulus - none)), 1e-5);
  EXPECT_LT(apart(guided_by({1, 1}, Guidance::additive), type + stimulus - none), 1e-5);
}

TEST_F(Guided, EachCellHasItsOwnLabels) {
  at::Tensor const mixed = at::tensor({0, 0, 2, 1, 1, 0}, at::kLong).view({3, 2});
  for (auto const guidance : {Guidance::joint, Guidance::additive}) {
    at::Tensor const found = guided(network, mixed, {2, 3}, guidance)(z, 0.3);
    for (std::int64_t i = 0; i < 3; ++i)
      EXPECT_LT(apart(found[i],
                      guided(network, mixed[i].unsqueeze(0).expand({3, 2}).contiguous(), {2, 3}, guidance)(z, 0.3)[i]),
                1e-5);
  }
}

}  // namespace
}  // namespace retort
