// Line plots as inline SVG.
#pragma once

#include <string>
#include <vector>

namespace retort {

enum class Scale { linear, log, log_from_zero };  // the last: log10(1 + x), for steps that begin at 0

struct PlotPoint {
  double x = 0, y = 0;
  double spread = 0;  // a band of y - spread ... y + spread
  std::string title;  // shown on hover; empty: no mark
};

struct PlotLine {
  std::string colour;
  std::vector<PlotPoint> points = {};  // by rising x; points that are not finite are left out
  bool is_dashed = false;
  double width = 1.8;
};

// A horizontal line across the plot; its words stand above.
struct PlotLevel {
  double y = 0;
  std::string label;
};

struct LinePlot {
  std::string x_label, y_label;
  Scale x_scale = Scale::linear, y_scale = Scale::linear;
  std::vector<double> x_ticks = {};  // empty: round numbers
  std::vector<PlotLine> lines = {};
  std::vector<PlotLevel> levels = {};
  int width = 360, height = 240;  // CSS pixels on a phone; scaled up where there is room
};

// Empty text where no point is finite.
std::string svg_of(LinePlot const& plot);

struct LegendEntry {
  std::string label, colour;
  bool is_dashed = false;
  bool is_dot = false;
};
std::string legend(std::vector<LegendEntry> const& entries);

// Round numbers that cover [low, high], about `count` of them; {low} where both are equal.
std::vector<double> round_ticks(double low, double high, int count);
// The shortest text that tells numbers of this size apart: "0.25", "97.1", "12,000".
std::string short_number(double value);

}  // namespace retort
