// What generated cells must be nearer to real test cells than, and as near as: Gaussian cells, and other real cells.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/cells/feature_file.hpp"
#include "retort/fidelity/kinds.hpp"
#include "retort/generate/size_factors.hpp"
#include "retort/models/cell_vae.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

// The floor: real cells of the train part, of each kind that the terms cover as many as there are test cells, or all
// there are; drawn by (seed, kind). Not collective.
CellsOfKinds train_cells(Atlas const& atlas, Kinds const& kinds, Terms const& terms, std::uint64_t seed);

// Where latents come from that a trained generator is not asked for:
//   train_cells       those of the cells that train_cells() takes: what a perfect generator of latents would give, and
//   so the autoencoder's part in what is lost gaussian_of_kind  the Gaussian (full covariance, ddof 1) of all train
//   cells of the kind standard_normal   N(0, I), the prior of an autoencoder, which knows no kinds
enum class LatentBaseline { train_cells, gaussian_of_kind, standard_normal };

// Libraries of the train cells of each kind. Collective: reads them all.
SizeFactors train_libraries(Communicator const& ranks, Atlas const& atlas, Kinds const& kinds);

// Counts of such latents: of each kind that has train cells as many cells as there are test cells, decoded, counts
// drawn with `libraries`, those of train_libraries(). `latents`: of all cells of the atlas, by this autoencoder, which
// has a negative binomial head. Collective: blocks of 64 cells are shared out; the same bits on any number of ranks.
CellsOfKinds latent_cells(Communicator const& ranks, LatentBaseline baseline, CellVae const& vae,
                          Features const& latents, SizeFactors const& libraries, Atlas const& atlas, Kinds const& kinds,
                          Terms const& terms, std::uint64_t seed);

// A Gaussian prior for log-normalised expression: each gene drawn by itself, with the mean and deviation of the kind's
// train cells, and cut at 0 as scRDiT cuts its samples. Not collective.
CellsOfKinds gaussian_expression_cells(Atlas const& atlas, Kinds const& kinds, Terms const& terms, std::uint64_t seed);

// Rows of a set that has at most `most_cells` of each kind, by which the kinds have the shares they have among the test
// cells that the terms cover; none where no such kind was cut.
std::vector<std::int64_t> rows_in_proportion(CellsOfKinds const& cells, Kinds const& kinds, Terms const& terms,
                                             std::int64_t most_cells);

// `count` draws from the Gaussian that has the mean and covariance (ddof 1) of `points` [n, width], n at least 1; cell
// i by the stream (seed, first + i). Exact where n is below the width as well: a sum of the points' deviations with
// normal weights. [count, width] float32. Not collective.
at::Tensor gaussian_like(at::Tensor const& points, std::int64_t count, std::uint64_t seed, std::int64_t first);

}  // namespace retort
