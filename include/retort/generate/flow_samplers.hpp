// From noise to latents along a learned velocity (Lipman et al. 2023; scLDM, methods 3.5), with guidance.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "retort/models/scldm_transformer.hpp"

namespace retort {

// z [n, ...] at time t in [0, 1] -> dz/dt.
using Velocity = std::function<at::Tensor(at::Tensor const& z, double t)>;

enum class FlowSolver { euler, heun, dopri5 };
// Throws Failure(usage) for another name.
FlowSolver flow_solver_of(std::string const& name);

struct FlowSettings {
  FlowSolver solver = FlowSolver::dopri5;
  std::int64_t steps = 50;  // of euler and heun
  double tolerance = 1e-5;  // absolute and relative, of dopri5
};

// Carries `noise` at t = 0 to t = 1. dopri5 (Dormand & Prince 1980; steps as in Hairer et al., II.4) takes one step
// size for all rows it is given, by the root mean square of the error over them: cut a run into the same blocks on any
// number of ranks where the same bits are wanted. Throws Failure(failed) where no step is small enough, or a value is
// not finite.
struct FlowResult {
  at::Tensor state;
  std::int64_t calls = 0;  // of the velocity
};
FlowResult flow(Velocity const& velocity, at::Tensor const& noise, FlowSettings const& settings);

// The network's velocity under classifier-free guidance (Ho & Salimans 2022): v0 + sum over terms of w (v - v0). Joint:
// one term, all labels at once, under the mean of the weights; additive: a term an attribute, the others none. `labels`
// int64 [n, attributes], `weights` one an attribute. Weights of 1 (joint) ask the network once, of 0 without labels.
enum class Guidance { joint, additive };
Velocity guided(ScldmTransformer const& network, at::Tensor const& labels, std::vector<double> const& weights,
                Guidance guidance);
// Whether that asks the network for cells without labels.
bool asks_for_unlabelled(std::vector<double> const& weights, Guidance guidance);

}  // namespace retort
