// CellTypist's classifier, trained on a synthetic set and tried on real cells: does what was distilled for one
// architecture carry over to another (methods 1.5.3)?
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/cells/csr_block.hpp"

namespace retort {

// One-vs-rest logistic regression, C = 1, on genes that are standardised by the training cells (population sd) and cut
// at +10; genes that no training cell has weigh nothing. Source: celltypist/train.py and classifier.py, release 1.7.1.
struct CellTypist {
  std::int64_t genes = 0, classes = 0;
  std::vector<float> weight;       // [genes, classes], of standardised genes
  std::vector<float> bias;         // [classes]; - infinity for a class without training cells
  std::vector<float> mean, scale;  // [genes]: standardised = min((x - mean) * scale, 10)
};

// Cells [n, genes] float32 log-normalised, labels int64 [n]. The search runs in the span of the n cells, so it costs
// n^2 a class and iteration, whatever the genes; it ends where no derivative of the summed loss is above 1e-4. Not
// collective.
CellTypist train_celltypist(at::Tensor const& cells, at::Tensor const& labels, std::int64_t classes);

// The class with the highest decision value of each cell; log-normalised cells with the training cells' genes. Not
// collective.
std::vector<std::int64_t> predict(CellTypist const& model, CsrBlock const& cells);

}  // namespace retort
