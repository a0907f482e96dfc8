// How like real cells generated ones are, by the papers' own measures (methods 2.5, 3.7).
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "retort/fidelity/feature_space.hpp"
#include "retort/fidelity/kinds.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

// Distances of one kind's real and generated cells, as many of each:
//   w2, mmd2, frechet    CFGen's protocol, which scLDM follows: in 30 components of the real test cells' variable
//   genes; the MMD is
//                        CFGen's sum of five kernels of fixed width
//   kl, w1, scrdit_mmd   scRDiT's: on log-normalised values of the same variable genes; KL of softmaxes with cells
//   paired as they
//                        lie, W1 of all values, and its own MMD (kernels as wide as the cells lie apart, blocks of 20
//                        genes)
inline constexpr std::array distance_names{"w2", "mmd2", "frechet", "kl", "w1", "scrdit_mmd"};
using Distances = std::array<double, distance_names.size()>;

// Cells that scRDiT's MMD takes of each side at most: it is quadratic, a hundred blocks of genes over.
inline constexpr std::int64_t most_cells_of_scrdit_mmd = 500;

// Real test cells on some terms, of the kinds that these cover, and the space that is fitted on them.
struct Comparison {
  Terms terms;
  CellsOfKinds real;
  FeatureSpace space;
};
// Not collective. Throws Failure(bad_input) as real_cells() and FeatureSpace::fit().
Comparison comparison_with(Atlas const& atlas, Kinds const& kinds, std::vector<std::int64_t> const& test,
                           Terms const& terms, FeatureSpaceOptions options);

struct GenerationScores {
  std::vector<Distances> of_kind;  // NaN where a side has fewer than two cells, and without labels
  std::vector<double>
      zeros_of_kind;                // share of zeros among the generated values; NaN without cells, and without labels
  Distances mean{}, mean_unseen{};  // over kinds that have them (without labels: of_all); over the unseen ones alone
  // Of all cells together, whatever their kinds (most_cells of each side at most, taken evenly).
  Distances of_all{};
  double neighbour_accuracy = 0, precision = 0, recall = 0;  // ideal 0.5, 1, 1
  // Gene by gene, on the values as they are.
  double zeros = 0, variation = 0;         // share of zeros; median coefficient of variation (genes of mean above 0.01)
  double zero_gap = 0, variation_gap = 0;  // mean differences from the real cells over genes
  double library = 0;                      // mean sum of counts; NaN for expression
};

// Collective: kinds are shared out over ranks; the result is the same on all, and on any number of them. At most
// `most_cells` of a kind, and of all together, take part in a distance (exact transport takes their cube).
// `in_proportion`: rows of `generated` that stand for all of its cells together, where its kinds were cut; none: all
// rows.
GenerationScores score_generated(Communicator const& ranks, Comparison const& comparison, Kinds const& kinds,
                                 CellsOfKinds const& generated, std::int64_t most_cells,
                                 std::span<std::int64_t const> in_proportion = {});

// "of_class" has arrays in the order of the kinds; what is not finite is null.
nlohmann::json json_of(GenerationScores const& scores);
// The terms, the space, and what the real cells are: "values", "genes", "variable_genes", "components", "real".
nlohmann::json json_of(Comparison const& comparison, Kinds const& kinds);

}  // namespace retort
