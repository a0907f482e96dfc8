// What generated expression has in common with real expression, gene by gene and cell by cell.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "retort/cells/csr_block.hpp"

namespace retort {

// Each gene over the cells of a set; float64 [genes].
struct GeneSpread {
  at::Tensor zeros;  // share of cells whose value is exactly 0
  at::Tensor mean;
  at::Tensor deviation;  // ddof 0

  double zero_proportion() const;               // of all values
  at::Tensor coefficient_of_variation() const;  // deviation / mean; NaN where the mean is 0
};

// cells [n, genes], float32 or float64. Not collective. Throws Failure(bad_input): no cells, a value that is not
// finite.
GeneSpread gene_spread(at::Tensor const& cells);
GeneSpread gene_spread(CsrBlock const& cells);

// Mean over genes of |difference of the shares of zeros| (methods 2.5). Throws Failure(bad_input) at different genes.
double zero_gap(GeneSpread const& real, GeneSpread const& generated);
// Mean of |difference of the coefficients of variation| over genes whose mean exceeds `least_mean` in both; NaN without
// any.
double variation_gap(GeneSpread const& real, GeneSpread const& generated, double least_mean = 0.01);

// The following pair row i of real with row i of generated: [n, genes] both, float32 or float64. Not collective. They
// throw Failure(bad_input): other types, different shapes, a value that is not finite.

// scRDiT's KL (methods 2.5): mean over rows of KL(softmax(real row) || softmax(generated row)).
double softmax_divergence(at::Tensor const& real, at::Tensor const& generated);

// scLDM's PCC (methods 3.7): Pearson's correlation of each gene across cells, averaged over the genes that vary in
// both; with cells_per_batch (scLDM's tests: 128) in runs of so many cells, averaged by their cells, where a batch of
// one cell or without such a gene is left out; 0: all cells at once. It depends on the batch. A correlation per cell
// would be far higher. NaN where nothing varies.
double gene_correlation(at::Tensor const& real, at::Tensor const& generated, std::int64_t cells_per_batch = 0);

// Over all entries.
double mean_squared_error(at::Tensor const& real, at::Tensor const& generated);

}  // namespace retort
