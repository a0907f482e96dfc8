// Distilled sets on disk: RUN/distilled/VARIANT-MATCHING-spcN-drawN.h5ad.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>

#include "retort/distill/distill_inputs.hpp"
#include "retort/distill/matching_parts.hpp"
#include "retort/distill/scoring.hpp"

namespace retort {

// One kind of set.
struct Recipe {
  std::string variant;
  MatchingParts matching;
  std::int64_t spc = 1;
};

std::string set_name(Recipe const& recipe, std::int64_t draw);

// Cells [classes * spc, genes] and their codes as an h5ad: labels, latents in obsm, what made it in uns. `by_genes`:
// see HeldOutGenes. Not collective.
void write_set(DistillInputs const& in, Recipe const& recipe, std::int64_t draw, Candidate const& best, double by_genes,
               at::Tensor const& cells, at::Tensor const& codes, DistillOptions const& options, std::int64_t seed,
               std::filesystem::path const& file);

// The mean code of each class [classes, width], of the largest set of the same variant, matching and draw with fewer
// cells a class that this run makes before; nothing where there is none. Not collective.
std::optional<at::Tensor> smaller_set_centres(DistillInputs const& in, std::filesystem::path const& folder,
                                              Recipe const& recipe, std::int64_t draw, DistillOptions const& options);

}  // namespace retort
