#include "retort/generate/diffusion_task.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "retort/kernels/shard_parameters.hpp"

namespace retort {

at::Tensor DiffusionTask::loss(NoisyCells const& cells, int shards, Precision precision) const {
  at::Tensor made;
  {
    Autocast const products(precision);
    made = predict(cells, shards).to(at::kFloat);
  }
  std::int64_t const parts = std::max(shards, 1), rows = made.size(0) / parts;
  std::vector<at::Tensor> losses;
  for (std::int64_t part = 0; part < parts; ++part)
    losses.push_back(at::mse_loss(made.narrow(0, part * rows, rows), cells.target.narrow(0, part * rows, rows)));
  return tree_sum(losses);
}

}  // namespace retort
