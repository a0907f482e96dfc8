// Ten steps of plain gradient descent with a student, and the same ten in PyTorch with the same weights and cells.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "../shared_folder.hpp"
#include "../small_cells.hpp"
#include "retort/evaluate/student.hpp"
#include "retort/files/safetensors.hpp"

namespace retort {

// `network` is Python that defines scores(w, x): w the weights by name, x dense cells [n, genes]; `more` are tensors it
// may read from c.
inline bool ten_losses_agree(SharedFolder const& folder, Student const& student, std::int64_t genes,
                             std::int64_t classes, double rate, std::map<std::string, at::Tensor> more,
                             std::string const& network) {
  Safetensors weights, check{std::move(more), {}};
  for (auto const& [name, parameter] : student.parameters()) weights.tensors[name] = parameter.detach().clone();
  write_safetensors(folder / "weights.safetensors", weights);
  std::vector<at::Tensor> cells, labels;
  std::vector<float> losses;
  for (std::uint64_t step = 0; step < 10; ++step) {
    CsrBlock const batch = testing_cells::random_cells(8, genes, 0.4, step);
    cells.push_back(testing_cells::dense(batch));
    labels.push_back((at::arange(8) * static_cast<std::int64_t>(step + 1)) % classes);
    at::Tensor const scores = student.scores(batch, nullptr), loss = at::cross_entropy_loss(scores, labels.back());
    if (!step) check.tensors["scores"] = scores.detach().contiguous();
    losses.push_back(loss.item<float>());
    loss.backward();
    at::NoGradGuard const no_graph;
    for (auto [name, parameter] : student.parameters()) {
      parameter.sub_(parameter.grad(), rate);
      parameter.mutable_grad() = at::Tensor();
    }
  }
  check.tensors["x"] = at::stack(cells);
  check.tensors["y"] = at::stack(labels);
  check.tensors["losses"] = at::tensor(losses);
  write_safetensors(folder / "check.safetensors", check);
  return python_agrees(folder.path, R"py(
import math, torch, torch.nn.functional as F
from safetensors.torch import load_file
w, c = load_file('weights.safetensors'), load_file('check.safetensors')
w = {name: value.double().requires_grad_(True) for name, value in w.items()}
)py" + network + fmt::format("\nrate = {}\n", rate) +
                                        R"py(
apart = float((scores(w, c['x'][0].double()) - c['scores']).abs().max())
assert apart < 1e-5, f'scores differ by {apart}'
ours = []
for x, y in zip(c['x'], c['y']):
    loss = F.cross_entropy(scores(w, x.double()), y)
    ours.append(float(loss))
    loss.backward()
    with torch.no_grad():
        for value in w.values():
            value -= rate * value.grad
            value.grad = None
print('losses', [round(one, 4) for one in ours])
assert max(abs(a - b) for a, b in zip(ours, c['losses'].tolist())) < 2e-5, (ours, c['losses'].tolist())
assert max(ours) - min(ours) > 0.01, 'nothing was learned, so nothing was tried'
)py");
}

}  // namespace retort
