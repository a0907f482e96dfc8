// The space in which generated cells are compared with real ones: principal components of the real cells' variable
// genes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/cells/csr_block.hpp"
#include "retort/cells/variable_genes.hpp"

namespace retort {

struct FeatureSpaceOptions {
  VariableGeneOptions variable;
  std::int64_t components = 30;
  double target_sum = 1e4;
  // Cells are log-normalised expression (what scRDiT makes), not counts: values are taken as they are, and the genes
  // are those whose values vary most, because seurat_v3 wants counts.
  bool log_normalised = false;
};

// CFGen's protocol (methods 3.7), which scLDM follows: everything is fitted on real test cells. Variable genes of the
// counts; their counts scaled to sum 1e4 a cell (over the chosen genes), log1p; principal components. Generated cells
// are scaled the same and projected with the real mean taken off and the real loadings (CFGen's first notebook forgot
// both; its present script does this, and tables of the two differ). Log-normalised cells: see FeatureSpaceOptions.
class FeatureSpace {
 public:
  // Fewer components where the real cells span fewer directions. Loadings are signed so that the largest is positive;
  // the covariance is summed in fixed blocks of rows. Not collective. Throws Failure(bad_input): fewer than 2 cells,
  // cells that are all alike, and as variable_genes() does.
  static FeatureSpace fit(CsrBlock const& real_cells, FeatureSpaceOptions const& options = {});

  // Of cells over the same genes, [cells, components] float64. A cell without counts lies where zero expression lies.
  // Not collective. Throws Failure(bad_input): another number of genes, a value that is not finite, a negative count.
  at::Tensor project(CsrBlock const& cells) const;

  VariableGenes const& variable() const { return variable_; }
  std::int64_t components() const { return loadings_.size(1); }
  at::Tensor const& mean() const { return mean_; }          // [chosen genes] float64
  at::Tensor const& loadings() const { return loadings_; }  // [chosen genes, components] float64, orthonormal
  at::Tensor const& spread() const { return spread_; }      // [components] variance of the real cells (ddof 1), falling

 private:
  VariableGenes variable_;
  std::vector<std::int64_t> column_;  // [all genes], -1 for a gene that is not chosen
  double target_sum_ = 0;             // 0: values are taken as they are
  at::Tensor mean_, loadings_, spread_;
};

}  // namespace retort
