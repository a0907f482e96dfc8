// Numbers of several sets under each other as inline SVG: bars that begin at 0, or dots with their spread.
#pragma once

#include <string>
#include <vector>

namespace retort {

struct Bar {
  std::string label;
  double value = 0;  // what is not finite has a dash and no mark
  std::string colour;
  double spread = 0;  // of a dot: a line from value - spread to value + spread
};

struct BarPlot {
  std::vector<Bar> bars;
  double level = -1;      // a mark across every row where it is at least 0: what the numbers are read against
  bool are_dots = false;  // the axis covers what is there and need not begin at 0: for numbers whose differences count
  int width = 340;        // CSS pixels on a phone; scaled up where there is room
};

// Labels stand above the marks and values behind them. Empty text where no value is finite.
std::string svg_of(BarPlot const& plot);

}  // namespace retort
