// What the names on the page mean: of sets, of classifiers, and of the columns about generated cells.
#pragma once

#include <array>

namespace retort::meanings {

struct Name {
  char const* name;
  char const* meaning;
};

inline constexpr std::array variants{
    Name{"full", "A linear head on the features of all train cells: what a distilled set tries to reach."},
    Name{"genes", "Logistic regression on all genes of all train cells: what the data give without an encoder."},
    Name{"random", "Real train cells drawn at random, a few per class. What every method must beat."},
    Name{"medoid", "The real cell of each class that lies nearest the mean of its features."},
    Name{"kmeans", "Each class cut into clusters of features; the real cell nearest each cluster's centre."},
    Name{"class_mean", "The mean expression of each class's train cells, as one cell."},
    Name{"kmeans_mean", "The mean expression of each cluster of a class, as one cell each."},
    Name{"scdd",
         "Synthetic cells that a diffusion denoiser and a decoder make of latents; the latents are optimised (scDD, "
         "arXiv 2503.04357)."},
    Name{"decoder", "As scdd without the denoiser: latents that the decoder turns into cells."},
    Name{"cells", "The expression values themselves are optimised, without a generator."},
    Name{"features", "Features are optimised and used as they are; there are no cells."},
    Name{"features_decoded", "Features are optimised, and the decoder turns them into cells at the end."},
    Name{"generator", "Real cells passed through denoiser and decoder; nothing is optimised."},
};

inline constexpr std::array matchings{
    Name{"dm",
         "Distribution matching: the mean feature of a class's synthetic cells approaches that of its real cells."},
    Name{"dc",
         "Gradient matching (dataset condensation): synthetic cells pull a classifier in the direction in which real "
         "cells pull it."},
    Name{"dm+dc", "Both of them together."},
    Name{"head",
         "A classifier is trained on the synthetic cells, and they change so that it does well on all real cells of "
         "the part that may be learned from."},
    Name{"genes", "The same for logistic regression on genes."},
    Name{"head+genes", "Both: the set teaches classifiers on features and classifiers on genes."},
    Name{"none", "Nothing is matched: the set stays as it began."},
};

// The classifiers, by the names that results.json gives their rows.
inline constexpr std::array judges{
    Name{"rows", "Linear head on frozen features"},   Name{"celltypist", "CellTypist's classifier on genes"},
    Name{"logistic", "Logistic regression on genes"}, Name{"cnn", "Convolutional network on genes"},
    Name{"tosica", "TOSICA, a transformer on genes"},
};

struct Metric {
  char const* key;
  char const* title;
  char const* meaning;
  bool is_share = false;
};

// Means over classes; lower is better.
inline constexpr std::array distances{
    Metric{"w2", "W2",
           "Wasserstein distance (exact transport, squared Euclidean cost, root) in the principal components of the "
           "real test cells' variable genes, class by class, as CFGen and scLDM report it."},
    Metric{"mmd2", "MMD²",
           "Squared maximum mean discrepancy in the same space, with CFGen's sum of five Gaussian kernels."},
    Metric{"frechet", "FD", "Fréchet distance of the Gaussians that fit the two sets in the same space."},
    Metric{"kl", "KL",
           "scRDiT's: Kullback-Leibler divergence of the softmax of a generated cell's expression from a real cell's, "
           "cells paired as they lie."},
    Metric{"w1", "W1", "scRDiT's: Wasserstein distance of all expression values, whatever their cells and genes."},
    Metric{"scrdit_mmd", "MMD (scRDiT)",
           "scRDiT's own MMD, with kernels as wide as the cells lie apart, over blocks of 20 genes; not to be compared "
           "with CFGen's."},
};

inline constexpr std::array others{
    Metric{"neighbour_accuracy", "1-NN",
           "How often a cell's nearest neighbour tells whether it is real or generated; 0.5 where nobody can tell.",
           true},
    Metric{"precision", "precision", "Share of the generated cells that lie among real ones.", true},
    Metric{"recall", "recall", "Share of the real cells that lie among generated ones.", true},
    Metric{"zeros", "zeros", "Share of values that are exactly zero.", true},
    Metric{"variation", "CV", "Median over genes of the deviation over the mean."},
    Metric{"library", "library", "Mean sum of counts per cell."},
};

}  // namespace retort::meanings
