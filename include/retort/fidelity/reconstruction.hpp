// How well an autoencoder gives real cells back (methods 3.7).
#pragma once

#include <cstdint>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/models/cell_vae.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

// RE: minus the log likelihood of a cell's counts, summed over genes; PCC and MSE between one sample of the prediction
// and the cells, both log-normalised, in batches of 128 as scLDM's tests take them (PCC: NaN where no batch has a gene
// that varies).
struct ReconstructionScores {
  double error = 0, correlation = 0, squared_error = 0;
};
// Collective, in blocks of 128 cells that begin at multiples of it.
ReconstructionScores score_reconstruction(Communicator const& ranks, CellVae const& vae, Atlas const& atlas,
                                          std::vector<std::int64_t> const& rows, std::uint64_t seed);

}  // namespace retort
