#include "retort/evaluate/kmeans.hpp"

#include <algorithm>
#include <limits>

#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr int most_rounds = 100;

struct Points {
  float const* values;
  std::int64_t count, width;

  double distance(std::int64_t point, double const* centroid) const {
    float const* const row = values + point * width;
    double sum = 0;
    for (std::int64_t j = 0; j < width; ++j)
      sum += (static_cast<double>(row[j]) - centroid[j]) * (static_cast<double>(row[j]) - centroid[j]);
    return sum;
  }
  void copy(std::int64_t point, double* to) const { std::copy_n(values + point * width, width, to); }
};

// Starts far apart: each next one is drawn by its squared distance from those there are.
std::vector<double> draw_starts(Points const& points, std::int64_t k, Random& random) {
  std::vector<double> centroids(index(k * points.width));
  std::vector<double> distance(index(points.count), std::numeric_limits<double>::max());
  auto chosen = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(points.count)));
  for (std::int64_t c = 0; c < k; ++c) {
    double* const centroid = centroids.data() + c * points.width;
    points.copy(chosen, centroid);
    double total = 0;
    for (std::size_t i = 0; i < distance.size(); ++i) {
      distance[i] = std::min(distance[i], points.distance(static_cast<std::int64_t>(i), centroid));
      total += distance[i];
    }
    double left = random.uniform() * total;
    chosen = 0;
    for (std::size_t i = 0; i < distance.size(); ++i) {
      if (distance[i] <= 0) continue;
      chosen = static_cast<std::int64_t>(i);
      if ((left -= distance[i]) < 0) break;
    }
  }
  return centroids;
}

// Gives every point to its nearest centroid; true when one moved.
bool assign(Points const& points, Clusters& clusters) {
  bool moved = false;
  clusters.inertia = 0;
  for (std::int64_t i = 0; i < points.count; ++i) {
    double nearest = std::numeric_limits<double>::max();
    std::int32_t cluster = 0;
    for (std::int32_t c = 0; c < clusters.count; ++c) {
      double const distance = points.distance(i, clusters.centroids.data() + c * points.width);
      if (distance < nearest) {
        nearest = distance;
        cluster = c;
      }
    }
    auto& own = clusters.of_point[index(i)];
    moved |= own != cluster;
    own = cluster;
    clusters.inertia += nearest;
  }
  return moved;
}

// An empty cluster takes the point that lies farthest from its centroid, of a cluster that can spare one.
void fill_empty(Points const& points, Clusters& clusters) {
  std::vector<std::int64_t> sizes(index(clusters.count));
  for (auto const c : clusters.of_point) ++sizes[index(c)];
  for (std::int32_t empty = 0; empty < clusters.count; ++empty) {
    if (sizes[index(empty)]) continue;
    double farthest = -1;
    std::size_t taken = 0;
    for (std::size_t i = 0; i < clusters.of_point.size(); ++i) {
      auto const c = clusters.of_point[i];
      double const distance =
          points.distance(static_cast<std::int64_t>(i), clusters.centroids.data() + c * points.width);
      if (sizes[index(c)] > 1 && distance > farthest) {
        farthest = distance;
        taken = i;
      }
    }
    --sizes[index(clusters.of_point[taken])];
    clusters.of_point[taken] = empty;
    sizes[index(empty)] = 1;
    points.copy(static_cast<std::int64_t>(taken), clusters.centroids.data() + empty * points.width);
  }
}

void move_centroids(Points const& points, Clusters& clusters) {
  std::vector<std::int64_t> sizes(index(clusters.count));
  std::fill(clusters.centroids.begin(), clusters.centroids.end(), 0.0);
  for (std::int64_t i = 0; i < points.count; ++i) {
    auto const c = clusters.of_point[index(i)];
    ++sizes[index(c)];
    double* const centroid = clusters.centroids.data() + c * points.width;
    float const* const row = points.values + i * points.width;
    for (std::int64_t j = 0; j < points.width; ++j) centroid[j] += static_cast<double>(row[j]);
  }
  for (std::int64_t c = 0; c < clusters.count; ++c)
    for (std::int64_t j = 0; j < points.width; ++j)
      clusters.centroids[index(c * points.width + j)] /= static_cast<double>(sizes[index(c)]);
}

}  // namespace

Clusters kmeans(std::span<float const> points, std::int64_t width, std::int64_t k, Random random, int starts) {
  Points const all{points.data(), static_cast<std::int64_t>(points.size()) / width, width};
  Clusters best;
  best.inertia = std::numeric_limits<double>::max();
  for (int start = 0; start < starts && all.count; ++start) {
    Clusters now;
    now.count = std::min(k, all.count);
    now.of_point.assign(index(all.count), -1);
    now.centroids = draw_starts(all, now.count, random);
    for (int round = 0; round < most_rounds && assign(all, now); ++round) {
      fill_empty(all, now);
      move_centroids(all, now);
    }
    if (now.inertia < best.inertia) best = std::move(now);
  }
  return best;
}

std::vector<std::int64_t> nearest_points(std::span<float const> points, std::int64_t width, Clusters const& clusters) {
  Points const all{points.data(), static_cast<std::int64_t>(points.size()) / width, width};
  std::vector<std::int64_t> nearest;
  for (std::int64_t c = 0; c < clusters.count; ++c) {
    double least = std::numeric_limits<double>::max();
    std::int64_t chosen = 0;
    for (std::int64_t i = 0; i < all.count; ++i) {
      double const distance = all.distance(i, clusters.centroids.data() + c * width);
      if (distance >= least || std::find(nearest.begin(), nearest.end(), i) != nearest.end()) continue;
      least = distance;
      chosen = i;
    }
    nearest.push_back(chosen);
  }
  return nearest;
}

}  // namespace retort
