// A matrix of shades as inline SVG.
#pragma once

#include <string>
#include <vector>

namespace retort {

struct HeatMap {
  std::vector<std::string> rows, columns;
  std::vector<double> shade = {};        // [rows, columns], 0 ... 1; what is not finite stays empty
  std::vector<std::string> titles = {};  // [rows, columns]: what a cell says on hover
  std::vector<std::string> texts = {};   // [rows, columns], or empty: printed in the cells
  std::string row_label = {}, column_label = {};
  int cell_width = 22, cell_height = 22;
  std::vector<std::size_t> rules = {};  // rows after which a group ends
};

std::string svg_of(HeatMap const& map);

}  // namespace retort
