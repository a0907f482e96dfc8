// Maximum mean discrepancies between real and generated cells, by the kernels of the papers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace retort {

// MMD^2 as CFGen's evaluator and scLDM report it (methods 3.7): k(x, y) = sum over sigma in {0.01, 0.1, 1, 10, 100} of
// exp(-|x - y|^2 / (2 sigma^2)); mean k(real, real) + mean k(generated, generated) - 2 mean k(real, generated), every
// pair of a cell with itself included (biased), between 0 and 10. [n, width] and [m, width]; CFGen first cuts the
// larger set to the smaller one's size (narrow() it), which matters: the bias falls with the number of cells. Exact, in
// blocks of rows. Not collective. Throws Failure(bad_input): other types, different widths, a value that is not finite.
double kernel_discrepancy(at::Tensor const& real, at::Tensor const& generated);

// scRDiT's MMD (methods 2.5): k(x, y) = sum over i in 0..4 of exp(-|x - y|^2 / (2^i w)), no factor 2, where 4 w is the
// mean of |x - y|^2 over all pairs of different cells of both sets together; mean of k(x, x') + k(y, y') - k(x, y') -
// k(y, x') over all pairs of rows. As many generated as real cells. 0 where all cells are one. With genes_per_block
// (its tables: 20) the mean over runs of so many genes, the last one perhaps shorter; 0: all genes at once. Exact, in
// blocks of rows. Not collective. Throws Failure(bad_input) like kernel_discrepancy, and at unequal numbers.
double multi_kernel_discrepancy(at::Tensor const& real, at::Tensor const& generated, std::int64_t genes_per_block = 0);

}  // namespace retort
