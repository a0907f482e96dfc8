// A student that learns genes, not features: logistic regression as CellTypist trains it, and how its optimum moves
// with the cells it is trained on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace retort {

// One-vs-rest logistic regression, C = 1, on cells standardised by their own mean and sd (as CellTypist in evaluate
// does, without its cut at +10), at its optimum; everything in double. The search and the way back run in the span of
// the n cells.
class GeneStudent {
 public:
  // Genes that vary less are left out: standardised they would outweigh all others, and their derivative goes with 1 /
  // sd^3.
  static constexpr double least_sd = 1e-2;

  // Cells [n, genes], labels int64 [n]. Newton's method from zero until the residual is below 1e-10; O(n^3) a class and
  // step.
  GeneStudent(at::Tensor const& cells, at::Tensor const& labels, std::int64_t classes);

  // Of log-normalised genes: decision values are x weight + bias. [genes, classes], [classes].
  at::Tensor const& weight() const { return weight_; }
  at::Tensor const& bias() const { return bias_; }

  // The derivative by the cells, [n, genes], of a loss whose derivatives by weight() and bias() are given: through the
  // optimum by the implicit function theorem, and through mean and sd.
  // At the optimum a = y sigmoid(-y f), f = K a + b, sum a = 0, with K the Gram matrix of the standardised cells. With
  // D = diag(p (1 - p)), (I + K D) u + nu = da, sum D u = db gives dK = -(D u) a^T.
  at::Tensor back(at::Tensor const& by_weight, at::Tensor const& by_bias) const;

 private:
  at::Tensor centred_, mean_, scale_;  // cells - mean; 1 / sd, 0 for genes that do not vary
  at::Tensor scaled_, gram_;           // [n, genes], [n, n]
  at::Tensor dual_, offset_;           // a [n, classes], b [classes]
  at::Tensor slope_;                   // p (1 - p), [n, classes]
  at::Tensor plain_, weight_, bias_;   // weights of standardised genes; of log-normalised ones
};

}  // namespace retort
