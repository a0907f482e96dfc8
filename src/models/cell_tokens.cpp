#include "retort/models/cell_tokens.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

TokensOfCells cell_tokens(CsrBlock const& counts, ScldmVaeShape const& shape) {
  auto const tokens = std::make_shared<CellTokens>();
  std::vector<float> logs;
  auto const add = [&](std::int32_t row, double count, std::int64_t times) {
    tokens->rows.push_back(row);
    tokens->logit_offsets.push_back(static_cast<float>(std::log(static_cast<double>(times))));
    logs.push_back(static_cast<float>(std::log1p(count)));
  };
  bool const each_gene = shape.token_genes == TokenGenes::all && shape.fusion == Fusion::concat;
  for (std::int64_t c = 0; c < counts.rows(); ++c) {
    auto const row = index(c);
    auto const begin = index(counts.indptr[row]), end = index(counts.indptr[row + 1]);
    auto const expressed = static_cast<std::int64_t>(end - begin);
    std::int64_t blanks = 0;
    if (shape.token_genes == TokenGenes::all) {
      blanks = each_gene ? 0 : shape.genes - expressed;
    } else if (shape.length > 0) {
      blanks = shape.length - expressed;
      if (blanks < 0)
        fail(ExitCode::bad_input,
             "a cell expresses {} genes (vae.length is {}). Raise vae.length, or set it to 0 for no pads", expressed,
             shape.length);
    }
    if (each_gene) {
      std::size_t k = begin;
      for (std::int64_t g = 0; g < counts.genes; ++g) {
        bool const here = k < end && counts.indices[k] == g;
        add(static_cast<std::int32_t>(g + 1), here ? counts.values[k] : 0.0F, 1);
        k += here;
      }
    } else {
      for (auto k = begin; k < end; ++k) add(counts.indices[k] + 1, counts.values[k], 1);
    }
    if (blanks > 0) add(0, 0, blanks);
    if (tokens->rows.size() == index(tokens->indptr.back())) add(0, 0, 1);
    tokens->indptr.push_back(static_cast<std::int64_t>(tokens->rows.size()));
  }
  return {tokens, at::tensor(tokens->rows, at::kInt).to(at::kLong), at::tensor(logs, at::kFloat)};
}

at::Tensor nonzero_places(CsrBlock const& cells) {
  at::Tensor const places = at::empty({cells.nonzeros()}, at::kLong);
  for (std::int64_t c = 0; c < cells.rows(); ++c)
    for (auto k = index(cells.indptr[index(c)]); k < index(cells.indptr[index(c) + 1]); ++k)
      places.data_ptr<std::int64_t>()[k] = c * cells.genes + cells.indices[k];
  return places;
}

}  // namespace retort
