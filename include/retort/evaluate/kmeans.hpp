// Clusters of a few cells by their features: k-means (Lloyd) from k-means++ starts (Arthur and Vassilvitskii 2007).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "retort/run/random.hpp"

namespace retort {

struct Clusters {
  std::int64_t count = 0;
  std::vector<std::int32_t> of_point;  // [points]; every cluster has a point
  std::vector<double> centroids;       // [count, width]
  double inertia = 0;                  // sum of squared distances to the own centroid
};

// points [n, width], row-major. min(k, n) clusters: the best of `starts` starts, each iterated until no point moves or
// 100 times. Not collective; a function of the points and of `random` alone.
Clusters kmeans(std::span<float const> points, std::int64_t width, std::int64_t k, Random random, int starts = 4);

// The point nearest each centroid, a point for one centroid only; [count].
std::vector<std::int64_t> nearest_points(std::span<float const> points, std::int64_t width, Clusters const& clusters);

}  // namespace retort
