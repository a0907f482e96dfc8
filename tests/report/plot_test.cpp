#include "retort/report/plot.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <regex>
#include <set>

#include "retort/report/heat_map.hpp"
#include "retort/report/palette.hpp"
#include "retort/run/index.hpp"

using namespace retort;

namespace {

TEST(RoundTicks, AreRoundAndInside) {
  EXPECT_EQ(round_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(round_ticks(-3, 7, 2), (std::vector<double>{0, 5}));
  EXPECT_EQ(round_ticks(5, 5, 4), std::vector<double>{5});
  for (double const tick : round_ticks(94.3, 97.4, 5)) EXPECT_TRUE(tick >= 94.3 && tick <= 97.4);
}

TEST(ShortNumber, SaysNoMoreThanItMust) {
  EXPECT_EQ(short_number(0.25), "0.25");
  EXPECT_EQ(short_number(97), "97");
  EXPECT_EQ(short_number(-0.0001), "-0.0001");
  EXPECT_EQ(short_number(12000), "12,000");
  EXPECT_EQ(short_number(-12000), "-12,000");
  EXPECT_EQ(short_number(0), "0");
}

// Every coordinate of every path and circle lies inside the picture.
void expect_inside(std::string const& svg, double width, double height) {
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  std::regex const point("[ML]([-0-9.]+) ([-0-9.]+)");
  for (std::sregex_iterator it(svg.begin(), svg.end(), point), end; it != end; ++it) {
    EXPECT_TRUE(std::stod((*it)[1]) >= 0 && std::stod((*it)[1]) <= width) << (*it)[0];
    EXPECT_TRUE(std::stod((*it)[2]) >= 0 && std::stod((*it)[2]) <= height) << (*it)[0];
  }
}

TEST(LinePlot, KeepsInsideAndLeavesOutWhatIsNotFinite) {
  double const nothing = std::numeric_limits<double>::quiet_NaN();
  LinePlot plot{.x_label = "<x>", .y_label = "y", .x_scale = Scale::log};
  plot.lines.push_back({.colour = colour(0), .points = {{1, 50, 20, "a <b>"}, {3, nothing, 0, ""}, {10, 90, 5, ""}}});
  plot.levels = {{99, "all"}, {120, "genes"}};
  auto const svg = svg_of(plot);
  expect_inside(svg, plot.width, plot.height);
  EXPECT_NE(svg.find("&lt;x&gt;"), std::string::npos);
  EXPECT_NE(svg.find("<title>a &lt;b&gt;</title>"), std::string::npos);
  plot.lines = {{.colour = colour(0), .points = {{1, nothing, 0, ""}, {2, nothing, 0, ""}}}};
  EXPECT_EQ(svg_of(plot), "");
  LinePlot one{.x_label = "step", .y_label = "loss", .x_scale = Scale::log_from_zero, .y_scale = Scale::log};
  one.lines.push_back({.colour = colour(0), .points = {{0, 3, 0, ""}, {4, -1, 0, ""}}});  // no logarithm of the second
  expect_inside(svg_of(one), one.width, one.height);
}

TEST(HeatMap, HasARectangleACellAndNoneForWhatIsMissing) {
  HeatMap const map{.rows = {"<script>", "B"},
                    .columns = {"T", "B", "NK"},
                    .shade = {0, 0.5, 1, std::nan(""), 0.25, 2},
                    .titles = {"1", "2", "3", "4", "<5>", "6"}};
  auto const svg = svg_of(map);
  std::regex const rectangle("class=\"heat\"");
  EXPECT_EQ(std::distance(std::sregex_iterator(svg.begin(), svg.end(), rectangle), {}), 5);
  EXPECT_EQ(svg.find("<script>"), std::string::npos);
  EXPECT_NE(svg.find("<title>&lt;5&gt;</title>"), std::string::npos);
}

// Contrast of a colour with black (luminance 0) or white paper (WCAG 2, 1.4.11).
double luminance(std::string const& hex) {
  double sum = 0;
  for (int part = 0; part < 3; ++part) {
    double const value = std::stoi(hex.substr(index(1 + 2 * part), 2), nullptr, 16) / 255.0;
    sum += (part == 0   ? 0.2126
            : part == 1 ? 0.7152
                        : 0.0722) *
           (value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4));
  }
  return sum;
}

TEST(Colour, TellsTwentyFourClassesApartOnBothPapers) {
  EXPECT_EQ(colour(3), "var(--c3)");
  EXPECT_EQ(colour(24), colour(0));
  for (bool const dark : {false, true}) {
    std::string const css = dark ? colours_on_dark_paper() : colours_on_light_paper();
    std::regex const one("--c[0-9]+:(#[0-9a-f]{6});");
    std::set<std::string> colours;
    for (std::sregex_iterator it(css.begin(), css.end(), one), end; it != end; ++it) {
      colours.insert((*it)[1]);
      double const own = luminance((*it)[1]), paper = luminance(dark ? "#14171b" : "#ffffff");
      EXPECT_GT((std::max(own, paper) + 0.05) / (std::min(own, paper) + 0.05), 1.5) << (*it)[0] << dark;
    }
    EXPECT_EQ(colours.size(), 24u);
  }
}

}  // namespace
