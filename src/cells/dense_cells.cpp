#include "retort/cells/dense_cells.hpp"

#include <numeric>

#include "retort/run/index.hpp"

namespace retort {

CsrBlock compressed_rows(float const* cells, std::int64_t genes, std::span<std::int64_t const> rows) {
  CsrBlock block;
  block.genes = genes;
  for (std::int64_t const row : rows) {
    float const* const values = cells + row * genes;
    for (std::int64_t gene = 0; gene < genes; ++gene) {
      if (values[gene] == 0) continue;
      block.indices.push_back(static_cast<std::int32_t>(gene));
      block.values.push_back(values[gene]);
    }
    block.indptr.push_back(std::ssize(block.indices));
  }
  return block;
}

CsrBlock compressed(std::span<float const> cells, std::int64_t genes) {
  std::vector<std::int64_t> rows(genes ? cells.size() / index(genes) : 0);
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  return compressed_rows(cells.data(), genes, rows);
}

}  // namespace retort
