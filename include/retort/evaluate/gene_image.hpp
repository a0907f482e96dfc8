// Genes as pixels: where each gene lies on an image, and cells drawn on it (DeepInsight's idea; methods 1.5.3).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/cells/csr_block.hpp"

namespace retort {

struct GeneLayout {
  std::int64_t side = 0;
  std::vector<std::int32_t> pixel;  // [genes]: row * side + column
};

// Genes that vary together lie together. Each gene has a place in the plane, its entries in the first two principal
// axes of the correlation between genes over `cells` (log-normalised, some hundred or more real ones); by rank on the
// first axis genes are dealt into `side` columns, and those of a column by rank on the second into its rows. So every
// pixel has the same number of genes, but for one, where t-SNE (scDeepInsight's) leaves most of an image empty. A
// function of the cells alone. Not collective.
GeneLayout lay_out_genes(CsrBlock const& cells, std::int64_t side);

// [cells, 1, side, side] float32: each cell's values over all genes scaled to [0, 1] by its least and largest, and the
// mean of a pixel's genes; 0 where no gene lies, and everywhere for a cell whose genes are all alike.
at::Tensor draw_images(CsrBlock const& cells, GeneLayout const& layout);

}  // namespace retort
