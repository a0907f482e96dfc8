#include "retort/report/bars.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <regex>

using namespace retort;

namespace {

std::vector<double> widths(std::string const& svg) {
  std::vector<double> found;
  std::regex const bar("<rect x=\"0\" y=\"[0-9]+\" width=\"([-0-9.]+)\"");
  for (std::sregex_iterator it(svg.begin(), svg.end(), bar), end; it != end; ++it) found.push_back(std::stod((*it)[1]));
  return found;
}

TEST(BarPlot, LengthsAreInProportionAndInside) {
  BarPlot const plot{
      .bars = {{"<a>", 2, "red", 0}, {"b", 4, "blue", 0}, {"none", std::nan(""), "blue", 0}, {"zero", 0, "blue", 0}},
      .level = 3};
  auto const svg = svg_of(plot);
  auto const found = widths(svg);
  ASSERT_EQ(found.size(), 3u);  // what is not finite has no bar
  EXPECT_NEAR(found[1] / found[0], 2, 0.01);
  EXPECT_LT(found[1], plot.width);
  EXPECT_EQ(found[2], 1);  // still to be seen
  EXPECT_NE(svg.find("class=\"level\""), std::string::npos);
  EXPECT_NE(svg.find("&lt;a&gt;"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

// Dots show differences: their axis begins at the lowest of them, and a spread is as long on either side.
TEST(BarPlot, DotsCoverWhatIsThere) {
  BarPlot const plot{.bars = {{"a", 90, "red", 2}, {"b", 94, "blue", 0}}, .level = 95, .are_dots = true};
  auto const svg = svg_of(plot);
  EXPECT_TRUE(widths(svg).empty());
  std::vector<double> places;
  std::regex const dot("<circle cx=\"([-0-9.]+)\"");
  for (std::sregex_iterator it(svg.begin(), svg.end(), dot), end; it != end; ++it)
    places.push_back(std::stod((*it)[1]));
  ASSERT_EQ(places.size(), 2u);
  EXPECT_NEAR((places[1] - places[0]) / 4, (places[0] - 6) / 2, 0.1);  // 88 lies at 6
  EXPECT_NE(svg.find("90.00 ± 2.00"), std::string::npos);
  EXPECT_NE(svg.find(">94<"), std::string::npos);
}

TEST(BarPlot, IsNothingWithoutNumbers) {
  EXPECT_EQ(svg_of(BarPlot{}), "");
  EXPECT_EQ(svg_of(BarPlot{.bars = {{"a", std::nan(""), "red", 0}}}), "");
  EXPECT_EQ(widths(svg_of(BarPlot{.bars = {{"a", 0, "red", 0}}})), std::vector<double>{1});
}

}  // namespace
