// Where the vectors of genes may begin: how genes vary together, instead of at random.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/cells/csr_block.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// Vectors [genes, width] float32 from counts: first the logarithm of 1 + a gene's total, then its loadings on the first
// width - 1 principal components of log-normalised expression, every gene standardised. Columns have unit variance over
// genes.
//
// The components come from subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4) that begins at `start`
// [genes, width] and keeps the cells sparse; what the cells do not decide, where they are fewer than components, stays
// as in `start`.
//
// `counts`: the cells of each of this rank's shards, in their order. On the CPU. Collective; the same bits on any
// number of ranks. Throws Failure(failed) where cells have another number of genes than `start`.
at::Tensor gene_components(Communicator const& ranks, ShardPlan const& plan, std::vector<CsrBlock> const& counts,
                           at::Tensor const& start);

}  // namespace retort
