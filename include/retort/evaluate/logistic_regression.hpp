// Logistic regression on the genes of a synthetic set: what somebody trains on it who takes scikit-learn's defaults.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace retort {

// n vectors of many genes in n coordinates: x = basis @ axes, and weights of least norm that a penalised model of x
// finds are axes^T v of weights v [n] of basis, of the same norm.
struct CellSpan {
  at::Tensor basis;  // [n, n] double
  at::Tensor axes;   // [n, genes] double, orthonormal rows; zero where the cells span less
};
CellSpan span_of(at::Tensor const& x);

// A tensor's values as float32, row after row.
std::vector<float> floats_of(at::Tensor const& tensor);

// Multinomial, C = 1, unscaled log-normalised genes, an intercept without penalty: scikit-learn's LogisticRegression().
struct LogisticRegression {
  std::vector<float> weight;  // [genes, classes]
  std::vector<float> bias;    // [classes]; - infinity for a class without training cells
};

// Cells [n, genes] float32 log-normalised, labels int64 [n]. Costs n^2 a class and iteration, whatever the genes; ends
// where no derivative of the summed loss is above 1e-4. Not collective. Cells are judged by predict_classes
// (models/regression_loss.hpp).
LogisticRegression train_logistic_regression(at::Tensor const& cells, at::Tensor const& labels, std::int64_t classes);

}  // namespace retort
