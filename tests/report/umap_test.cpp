#include "retort/report/umap.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "../shared_folder.hpp"
#include "retort/run/random.hpp"

using namespace retort;

namespace {

constexpr std::int64_t width = 10;
constexpr std::size_t classes = 4, each = 60;

// Clouds far apart in ten dimensions, class by class.
std::vector<float> clouds() {
  Random random(3, 99);
  std::vector<float> points;
  for (std::size_t i = 0; i < classes * each; ++i)
    for (std::int64_t d = 0; d < width; ++d)
      points.push_back(static_cast<float>((d == static_cast<std::int64_t>(i / each) ? 8.0 : 0.0) + random.normal()));
  return points;
}

TEST(Umap, KeepsClassesTogetherAndApart) {
  auto const places = umap(clouds(), width, 1);
  ASSERT_EQ(places.size(), 2 * classes * each);
  std::size_t right = 0;  // points whose nearest neighbour is of their class
  for (std::size_t i = 0; i < classes * each; ++i) {
    double best = std::numeric_limits<double>::infinity();
    std::size_t nearest = i;
    for (std::size_t j = 0; j < classes * each; ++j) {
      double const apart = std::hypot(places[2 * i] - places[2 * j], places[2 * i + 1] - places[2 * j + 1]);
      if (j != i && apart < best) best = apart, nearest = j;
    }
    right += nearest / each == i / each;
  }
  EXPECT_EQ(right, classes * each);
}

TEST(Umap, IsAFunctionOfPointsAndSeed) {
  auto const points = clouds();
  EXPECT_EQ(umap(points, width, 1), umap(points, width, 1));
  EXPECT_NE(umap(points, width, 1), umap(points, width, 2));
}

TEST(Umap, TakesFewPointsEqualPointsAndNarrowOnes) {
  for (std::size_t const count : {0u, 1u, 2u, 3u, 4u, 5u, 20u}) {
    auto const places = umap(std::vector<float>(count * width, 0.5F), width, 1);
    ASSERT_EQ(places.size(), 2 * count);
    for (double const place : places) EXPECT_TRUE(std::isfinite(place)) << count;
  }
  for (double const place : umap(std::vector<float>{1, 2, 3, 4, 5, 9}, 1, 1)) EXPECT_TRUE(std::isfinite(place));
}

TEST(Umap, RefusesWhatIsNotFinite) {
  auto points = clouds();
  points[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { umap(points, width, 1); }).find("not finite"), std::string::npos);
}

}  // namespace
