// Random sparse cells for tests of models.
#pragma once

#include <ATen/ATen.h>

#include "retort/cells/csr_block.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort::testing_cells {

inline CsrBlock random_cells(std::int64_t rows, std::int64_t genes, double density, std::uint64_t seed) {
  CsrBlock cells;
  cells.genes = genes;
  for (std::int64_t i = 0; i < rows; ++i) {
    Random random(seed, purpose::simulate, static_cast<std::uint64_t>(i));
    for (std::int32_t g = 0; g < genes; ++g) {
      if (random.uniform() >= density) continue;
      cells.indices.push_back(g);
      cells.values.push_back(static_cast<float>(0.2 + 3 * random.uniform()));
    }
    cells.indptr.push_back(static_cast<std::int64_t>(cells.indices.size()));
  }
  return cells;
}

inline at::Tensor dense(CsrBlock const& cells) {
  at::Tensor const out = at::zeros({cells.rows(), cells.genes});
  auto view = out.accessor<float, 2>();
  for (std::int64_t i = 0; i < cells.rows(); ++i) {
    for (auto k = cells.indptr[index(i)]; k < cells.indptr[index(i) + 1]; ++k) {
      view[i][cells.indices[index(k)]] = cells.values[index(k)];
    }
  }
  return out;
}

inline double largest_difference(at::Tensor const& a, at::Tensor const& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace retort::testing_cells
