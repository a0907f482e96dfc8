#include "retort/evaluate/kmeans.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "retort/run/index.hpp"

using namespace retort;

namespace {

std::vector<float> normal_points(std::int64_t count, std::int64_t width, std::uint64_t seed) {
  Random random(seed, purpose::simulate);
  std::vector<float> points(index(count * width));
  for (float& value : points) value = static_cast<float>(random.normal());
  return points;
}

double distance(std::span<float const> points, std::int64_t width, std::size_t i, double const* centroid) {
  double sum = 0;
  for (std::size_t j = 0; j < index(width); ++j) {
    double const away = static_cast<double>(points[i * index(width) + j]) - centroid[j];
    sum += away * away;
  }
  return sum;
}

TEST(Kmeans, EndsWhereNoPointWantsToMove) {
  std::int64_t const width = 5, k = 6;
  auto const points = normal_points(300, width, 1);
  auto const clusters = kmeans(points, width, k, Random(0, purpose::baseline));
  EXPECT_EQ(clusters.count, k);
  std::vector<std::vector<double>> sums(index(k), std::vector<double>(index(width)));
  std::vector<double> sizes(index(k));
  double inertia = 0;
  for (std::size_t i = 0; i < 300; ++i) {
    auto const own = index(clusters.of_point[i]);
    double const here = distance(points, width, i, clusters.centroids.data() + own * 5);
    for (std::size_t c = 0; c < index(k); ++c)
      EXPECT_GE(distance(points, width, i, clusters.centroids.data() + c * 5), here);
    inertia += here;
    sizes[own] += 1;
    for (std::size_t j = 0; j < 5; ++j) sums[own][j] += static_cast<double>(points[i * 5 + j]);
  }
  EXPECT_NEAR(clusters.inertia, inertia, 1e-9);
  for (std::size_t c = 0; c < index(k); ++c)
    for (std::size_t j = 0; j < 5; ++j) EXPECT_NEAR(sums[c][j] / sizes[c], clusters.centroids[c * 5 + j], 1e-12);
}

TEST(Kmeans, FindsGroupsThatAreFarApart) {
  auto points = normal_points(400, 3, 2);
  for (std::size_t i = 0; i < 400; ++i) points[i * 3 + i % 2] += static_cast<float>(40 * (i % 4));
  auto const clusters = kmeans(points, 3, 4, Random(1, purpose::baseline));
  for (std::size_t i = 0; i < 400; ++i) EXPECT_EQ(clusters.of_point[i], clusters.of_point[i % 4]);
  EXPECT_EQ((std::set<std::int32_t>(clusters.of_point.begin(), clusters.of_point.end()).size()), 4U);
}

TEST(Kmeans, CopesWithFewAndEqualPoints) {
  auto const few = kmeans(normal_points(3, 2, 0), 2, 10, Random(0, purpose::baseline));
  EXPECT_EQ(few.count, 3);
  EXPECT_NEAR(few.inertia, 0, 1e-12);
  std::vector<float> const same(20, 1.0F);  // ten equal points
  auto const equal = kmeans(same, 2, 4, Random(0, purpose::baseline));
  EXPECT_EQ((std::set<std::int32_t>(equal.of_point.begin(), equal.of_point.end()).size()), 4U);
  auto const chosen = nearest_points(same, 2, equal);
  EXPECT_EQ((std::set<std::int64_t>(chosen.begin(), chosen.end()).size()), 4U);
}

TEST(NearestPoints, EqualsBruteForce) {
  auto const points = normal_points(200, 4, 5);
  auto const clusters = kmeans(points, 4, 3, Random(0, purpose::baseline));
  auto const chosen = nearest_points(points, 4, clusters);
  for (std::size_t c = 0; c < 3; ++c) {
    double least = std::numeric_limits<double>::max();
    for (std::size_t i = 0; i < 200; ++i)
      least = std::min(least, distance(points, 4, i, clusters.centroids.data() + c * 4));
    EXPECT_EQ(distance(points, 4, index(chosen[c]), clusters.centroids.data() + c * 4), least);
  }
}

}  // namespace
