// Overdispersed counts of some classes, for tests of variable genes and the feature space.
#pragma once

#include <cmath>

#include "retort/cells/csr_block.hpp"
#include "retort/run/random.hpp"

namespace retort {

// Gene g's mean falls geometrically; a tenth of the genes are three times higher in one of three classes.
inline CsrBlock count_cells(std::int64_t cells, std::int64_t genes, std::uint64_t seed) {
  CsrBlock out;
  out.genes = genes;
  for (std::int64_t i = 0; i < cells; ++i) {
    Random random(seed, purpose::simulate, static_cast<std::uint64_t>(i));
    for (std::int32_t g = 0; g < genes; ++g) {
      double const mean = 20 * std::pow(1e-4, (static_cast<double>(g) + 1) / static_cast<double>(genes)) *
                          (g % 10 == 0 && i % 3 == g / 10 % 3 ? 3 : 1);
      // An exponential mixture of Poissons is geometric, drawn by inversion.
      auto const count = std::floor(std::log(1 - random.uniform()) / std::log(mean / (1 + mean)));
      if (count <= 0) continue;
      out.indices.push_back(g);
      out.values.push_back(static_cast<float>(count));
    }
    out.indptr.push_back(std::ssize(out.indices));
  }
  return out;
}

}  // namespace retort
