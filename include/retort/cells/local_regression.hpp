// Loess of one variable: Cleveland's local regression, as the trend of variance on mean that seurat_v3 takes off.
#pragma once

#include <span>
#include <vector>

namespace retort {

// The trend of y at each x, [n]: local quadratics over the nearest span * n points with tricube weights, no robustness
// rounds. As in the reference implementation (Cleveland and Grosse 1991: netlib's dloess, R's loess and scikit-misc,
// surface `interpolate`), they are fitted only where a binary tree cuts the x-axis (cells of at most span * n / 5
// points), and joined by cubics that keep value and slope. A fit at every x would differ by some 1e-3 and reorder the
// genes at the border. Not collective. Throws Failure(bad_input): fewer than 3 points in a neighbourhood, or a
// neighbourhood of zero width (so many points at one x that a wider span is needed).
std::vector<double> local_regression(std::span<double const> x, std::span<double const> y, double span);

}  // namespace retort
