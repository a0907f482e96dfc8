// The negative-binomial loss of counts that stay sparse.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "retort/cells/csr_block.hpp"

namespace retort {

// -log p of each cell's counts, summed over all genes: [n], float32. The mean is mu = library * softmax(logits), the
// library a cell's sum of counts, the inverse dispersion theta = exp(log_theta):
//   log p = theta (log(theta + e) - log(theta + mu + e)) + x (log(mu + e) - log(theta + mu + e)) + lgamma(x + theta) -
//   lgamma(theta) - lgamma(x + 1),
// e = 1e-8 (scLDM's stochastic_layers.py, scvi-tools' log_nb_positive). The terms of x are taken on the non-zeros
// alone.
//
// logits [n, genes]; log_theta [genes], or [n, genes] where each cell has its own. Differentiable in both, by hand; a
// cell's result depends on that cell alone, and the gradient of a shared log_theta adds cells in their order. On the
// CPU. Throws Failure(failed) when shapes disagree.
at::Tensor negative_binomial_loss(std::shared_ptr<CsrBlock const> const& counts, at::Tensor const& logits,
                                  at::Tensor const& log_theta);

}  // namespace retort
