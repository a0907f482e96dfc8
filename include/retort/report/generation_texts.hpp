// What the page says of generated cells; as texts.hpp.
#pragma once

#include "retort/report/texts.hpp"

namespace retort::texts {

inline constexpr Heading generated_verdict{
    "Are the generated cells good enough?",
    "What this page says of each generated set, in short. A tick means: nearer to the real test cells than any "
    "Gaussian; told apart in at most {:.0f} % of cases; zeros within {:.0f} points and counts within {:.0f} % of real "
    "cells'; no class more than one and a half times as far as real train cells. An exclamation mark means: look "
    "closer."};
inline constexpr char const* about_nearness = "Near real cells?";
inline constexpr char const* w2_of_generated = "W2 to the real test cells: {}.";
inline constexpr char const* w2_of_real = "Of real train cells: {}.";
inline constexpr char const* w2_of_prior = "Of Gaussians fitted to each class, which cost nothing: {}.";
inline constexpr char const* about_telling_apart = "Can they be told apart?";
inline constexpr char const* told_by_neighbour =
    "By its nearest neighbour a cell is known as real or generated in {} % of cases (50 is a guess).";
inline constexpr char const* zeros_of_generated = "{} % of their values are zero; of real cells' {} %.";
inline constexpr char const* counts_of_generated = "They have {} counts per cell; real cells have {}.";
inline constexpr char const* farthest_class = "Farthest from its real cells is {}: W2 {}, of real train cells {}.";

inline constexpr Heading generation{
    "Generated cells beside real ones",
    "Distances between real test cells and as many generated ones, on {} of {} genes; lower is better."};
inline constexpr char const* title_of_sets = "{}: {}";
inline constexpr char const* means_over_classes = "They are means over classes.";
inline constexpr char const* all_cells_together = "They are of all cells together, because the set has no labels.";
inline constexpr char const* about_floor =
    "Real train cells in the place of generated ones are the floor: nothing can be expected below it. A Gaussian "
    "fitted to each class is what a generator must beat. Good is 1-NN near 0.5, precision and recall near the floor's, "
    "and zeros, CV and library near those of the real test cells.";
inline constexpr char const* about_bars = "The same as bars; the mark across them is the floor.";
inline constexpr char const* unseen_classes = "Classes that no generator was trained on";
inline constexpr char const* about_columns = "What the columns mean";
inline constexpr char const* floor_set = "{} (real: the floor)";
inline constexpr char const* autoencoder_set = "{} (a perfect generator's)";
inline constexpr char const* prior_set = "{} (prior)";
inline constexpr Heading generation_by_class{
    "Generated cells, class by class",
    "The distances that the means above are made of; empty where a side has fewer than two cells. Good is a row that "
    "is as faint under a generated set as under the floor; few test cells make every distance large."};
inline constexpr char const* distance_of_class = "{} of {}: {} {} ({} test cells)";
inline constexpr Heading latents{
    "What the autoencoder keeps",
    "Test cells through the autoencoder and back. RE is minus the log likelihood of a cell's "
    "counts (lower is better), PCC the correlation of each gene between real cells and one "
    "sample of the prediction, MSE their squared difference (log-normalised). Below, classifiers "
    "trained on train cells' latents and tried on test cells'. Good is near what genes give."};

}  // namespace retort::texts
