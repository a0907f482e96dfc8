// How like real cells generated ones are, by the papers' own measures (methods 2.5, 3.7).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/distances/feature_space.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/vaes/cell_vae.hpp"

namespace retort {

// Counts of some cells and the class of each, by the atlas's names.
struct KindsOfCells {
  CsrBlock counts;
  std::vector<std::int32_t> classes;
};

// A generated h5ad: genes must be the atlas's in their order, `column` an obs column with classes of the atlas, values finite and not negative. Throws
// Failure(missing_input, bad_input). Not collective.
KindsOfCells read_generated(std::filesystem::path const& file, Atlas const& atlas, Labels const& labels);

// CFGen's protocol: distances per class between as many real and generated cells, in 30 components of the real test cells' variable
// genes, averaged over the classes that both have at least two of; then all cells together, and gene by gene.
struct GenerationScores {
  double w2 = 0, mmd2 = 0, frechet = 0;                            // means over classes
  std::vector<double> w2_of_class, mmd2_of_class, frechet_of_class;  // NaN where a class was left out
  double neighbour_accuracy = 0, precision = 0, recall = 0;        // all cells; ideal 0.5, 1, 1
  double zeros = 0, zero_gap = 0, variation_gap = 0;               // share of zeros; mean differences over genes
  double library = 0;                                              // mean sum of counts
};

// Collective: classes are shared out over ranks; the result is the same on all, and on any number of them. At most `most_cells` of each set take
// part in what is of all cells together.
GenerationScores score_generated(Communicator const& ranks, FeatureSpace const& space, KindsOfCells const& real, KindsOfCells const& generated, std::int64_t classes, std::int64_t most_cells);

// Reconstruction of test cells by an autoencoder: RE, and PCC and MSE between one count sample and the cells, both log-normalised.
struct ReconstructionScores {
  double error = 0, correlation = 0, squared_error = 0;
};
// Collective, in blocks of 128 cells that begin at multiples of it.
ReconstructionScores score_reconstruction(Communicator const& ranks, CellVae const& vae, Atlas const& atlas, std::vector<std::int64_t> const& rows, std::uint64_t seed);

nlohmann::json json_of(GenerationScores const& scores);

}  // namespace retort
