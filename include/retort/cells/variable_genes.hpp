// The genes that vary more than their mean lets expect: scanpy's flavor seurat_v3 (Stuart et al., Cell 2019) on counts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "retort/cells/csr_block.hpp"

namespace retort {

struct VariableGeneOptions {
  std::int64_t count = 2000;
  // Only genes that this many cells express are looked at: many genes of one mean leave the local regression without
  // width. 0 is scanpy's way.
  std::int64_t seen_in = 3;
  // Of the local regression, tried in turn while a neighbourhood has no width; scanpy takes the first or stops.
  std::vector<double> spans{0.3, 0.5, 1.0};
};

struct VariableGenes {
  std::vector<std::int32_t> genes;  // chosen, rising
  // [all genes] variance of the counts, standardised by the trend (log10 variance on log10 mean) and clipped at
  // sqrt(cells) deviations; 0 for a gene that was not looked at. Empty where every gene is taken.
  std::vector<double> variance;
  double span = 0;  // that served; 0 where every gene is taken
};

// All genes where no more than `count` are there, or seen. Equal variances: the earlier gene first.
// Not collective. Throws Failure(bad_input): fewer than 2 cells, a value that is negative or not finite, and where no
// span serves.
VariableGenes variable_genes(CsrBlock const& counts, VariableGeneOptions const& options = {});

// The `count` genes whose values vary most, as log values are chosen; all where there are no more. `variance` is that
// of the values. Not collective. Throws Failure(bad_input): fewer than 2 cells, a value that is not finite.
VariableGenes most_varying_genes(CsrBlock const& cells, std::int64_t count);

// The `count` genes of highest value, all where there are fewer; rising. Equal values: the earlier gene first. Not
// collective.
std::vector<std::int32_t> highest_genes(std::span<double const> of_gene, std::int64_t count);

}  // namespace retort
