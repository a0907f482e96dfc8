// Ten steps of training a generative network as programs train it, and the same ten in PyTorch from the same weights on
// the same batches.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "../shared_folder.hpp"
#include "retort/files/safetensors.hpp"
#include "retort/layers/parameters.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/training/flat_adamw.hpp"

namespace retort {

// Moves every weight, so that layers that start with zeros take part in a comparison.
inline void shake(Parameters const& parameters, double deviation) {
  at::NoGradGuard const no_graph;
  at::manual_seed(1);
  for (auto const& [name, tensor] : parameters.named()) tensor.detach().add_(at::randn_like(tensor), deviation);
}

inline Safetensors copied_weights(Parameters const& parameters) {
  Safetensors weights;
  for (auto const& [name, tensor] : parameters.named()) weights.tensors[name] = tensor.detach().clone();
  return weights;
}

using LossBatch = std::map<std::string, at::Tensor>;

// Ten losses, one before each step of AdamW, written to `at` beside the first weights and what makes the same in
// PyTorch. `batches` hold ten of each tensor, [10, ...]; `network` is Python that defines loss(w, b): w the weights by
// name and b a batch, all in double precision but whole numbers. They are to agree to `tolerance` of their size.
inline void write_ten_adamw_losses(std::filesystem::path const& at, Communicator const& ranks,
                                   Parameters const& parameters, LossBatch const& batches,
                                   std::function<at::Tensor(LossBatch const&)> const& loss_of,
                                   std::string const& network, double rate = 1e-3, double tolerance = 1e-5) {
  std::filesystem::create_directories(at);
  write_safetensors(at / "weights.safetensors", copied_weights(parameters));
  Safetensors check;
  for (auto const& [name, tensor] : batches) check.tensors["batch." + name] = tensor.contiguous();

  GradientArena arena(ranks, ShardPlan(1, 0, 1), parameters.tensors(), 1);
  FlatAdamw optimiser(arena.weights(), {});
  std::vector<float> losses;
  for (std::int64_t step = 0; step < 10; ++step) {
    LossBatch batch;
    for (auto const& [name, tensor] : batches) batch[name] = tensor[step];
    arena.begin_shard(0);
    at::Tensor const loss = loss_of(batch);
    loss.backward();
    losses.push_back(loss.item<float>());
    optimiser.step(arena.sum(), rate);
  }
  check.tensors["losses"] = at::tensor(losses);
  write_safetensors(at / "check.safetensors", check);
  std::ofstream(at / "ten_losses.py") << R"py(
import math, torch, torch.nn.functional as F
from safetensors.torch import load_file
exact = lambda x: x.double() if x.is_floating_point() else x
w = {name: value.double().requires_grad_(True) for name, value in load_file('weights.safetensors').items()}
c = load_file('check.safetensors')
)py" + network + fmt::format("\nrate, tolerance = {}, {}\n", rate, tolerance) +
                                             R"py(
optimiser, theirs, ours = torch.optim.AdamW(w.values(), lr=rate), [], c['losses'].tolist()
for step in range(10):
    found = loss(w, {name[6:]: exact(value[step]) for name, value in c.items() if name.startswith('batch.')})
    theirs.append(float(found.detach()))
    optimiser.zero_grad()
    found.backward()
    optimiser.step()
apart = max(abs(a / b - 1) for a, b in zip(ours, theirs))
print('losses', [round(one, 4) for one in theirs], 'apart', apart)
assert apart < tolerance, (ours, theirs)
assert max(theirs) / min(theirs) > 1.01, 'nothing was learned, so nothing was tried'
)py";
}

// Whether all that was written to folders in `folder` agrees: one Python for all, since it starts slower than it
// computes.
inline bool ten_adamw_losses_agree(SharedFolder const& folder) {
  return python_agrees(folder.path, R"py(
import os, torch
torch.set_num_threads(1)
cases = [case.path for case in os.scandir(os.getcwd()) if case.is_dir()]
for case in sorted(cases):
    os.chdir(case)
    print(os.path.basename(case), flush=True)
    exec(compile(open('ten_losses.py').read(), case, 'exec'), {})
assert cases
)py");
}

// For a test of one network.
inline bool ten_adamw_losses_agree(SharedFolder const& folder, Parameters const& parameters, LossBatch const& batches,
                                   std::function<at::Tensor(LossBatch const&)> const& loss_of,
                                   std::string const& network, double rate = 1e-3, double tolerance = 1e-5) {
  write_ten_adamw_losses(folder / "case", folder.ranks, parameters, batches, loss_of, network, rate, tolerance);
  return ten_adamw_losses_agree(folder);
}

// Whether the peer's network (scripts in RETORT_SHARED/peers) takes exactly these weights and predicts the same, to
// `tolerance` of the largest number; the peer reckons in double precision, so that only our rounding counts. `peer` is
// its file, `made` a Python expression of its network, `inputs` its arguments in order.
inline bool peer_agrees(SharedFolder const& folder, Parameters const& parameters, std::string const& peer,
                        std::string const& made, std::vector<at::Tensor> const& inputs, at::Tensor const& result,
                        double tolerance = 1e-5) {
  write_safetensors(folder / "weights.safetensors", copied_weights(parameters));
  Safetensors check;
  for (std::size_t i = 0; i < inputs.size(); ++i) check.tensors[fmt::format("input.{}", i)] = inputs[i].contiguous();
  check.tensors["result"] = result.detach().contiguous();
  write_safetensors(folder / "check.safetensors", check);
  return python_agrees(folder.path, fmt::format(R"py(
import importlib.util, os, sys, torch
from safetensors.torch import load_file
spec = importlib.util.spec_from_file_location('peer', os.environ['RETORT_SHARED'] + '/peers/{}')
peer = importlib.util.module_from_spec(spec)
sys.argv = ['peer', '--assert', '--threads', '1']
try: spec.loader.exec_module(peer)
except SystemExit as end: assert not end.code, end.code
net, c = peer.{}, load_file('check.safetensors')
net.load_state_dict(load_file('weights.safetensors'), strict=True)
exact = lambda x: x.double() if x.is_floating_point() else x
with torch.inference_mode(): theirs = net.double()(*(exact(c[f'input.{{i}}']) for i in range({})))
apart = float((theirs - c['result']).abs().max() / theirs.abs().max())
print('peer apart', apart, 'of', float(theirs.abs().max()))
assert apart < {}
)py",
                                                peer, made, inputs.size(), tolerance));
}

inline bool has_peers() {
  char const* shared = std::getenv("RETORT_SHARED");
  return shared && *shared && std::filesystem::exists(std::filesystem::path(shared) / "peers");
}

}  // namespace retort
