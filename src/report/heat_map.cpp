#include "retort/report/heat_map.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "retort/report/html.hpp"

namespace retort {
namespace {

constexpr std::size_t longest_label = 30;
// Pixels of a text of 11 pixels, in the widest of the fonts that a reader may have (DejaVu Sans).
double width_of(std::string const& text) {
  double width = 0;
  for (char const c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) == 0x80) continue;  // inside a character
    bool const is_narrow = std::string_view("ijltf.,:;'|!()[]/ ").find(c) != std::string_view::npos;
    bool const is_wide = (c >= 'A' && c <= 'Z') || c == 'm' || c == 'w' || c == '+' || c == '%';
    width += is_narrow ? 4.6 : is_wide ? 8.6 : 7.1;
  }
  return width;
}

int room_for(std::vector<std::string> const& labels) {
  double most = 8;
  for (auto const& label : labels) most = std::max(most, width_of(shortened(label, longest_label)));
  return static_cast<int>(most) + 9;
}

}  // namespace

std::string svg_of(HeatMap const& map) {
  int const above = map.column_label.empty() ? 0 : 16, before = map.row_label.empty() ? 0 : 16;
  int const left = room_for(map.rows) + before, top = room_for(map.columns) + above;
  int const width = left + static_cast<int>(map.columns.size()) * map.cell_width + 4,
            height = top + static_cast<int>(map.rows.size()) * map.cell_height + 4;
  // Shrinks to a phone down to two thirds, then the figure scrolls; grows by a third at most.
  std::string svg = fmt::format("<svg viewBox=\"0 0 {} {}\" style=\"min-width:{}px;max-width:{}px\" role=\"img\">\n",
                                width, height, width * 2 / 3, width * 4 / 3);
  if (above)
    svg += fmt::format("<text x=\"{}\" y=\"11\" text-anchor=\"middle\">{}</text>\n", (left + width) / 2,
                       escape(map.column_label));
  if (before)
    svg += fmt::format("<text transform=\"translate(11 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                       (top + height) / 2, escape(map.row_label));
  for (std::size_t c = 0; c < map.columns.size(); ++c)
    svg +=
        fmt::format("<text class=\"soft\" transform=\"translate({:.1f} {}) rotate(-90)\">{}<title>{}</title></text>\n",
                    left + (static_cast<double>(c) + 0.5) * map.cell_width + 4, top - 5,
                    escape(shortened(map.columns[c], longest_label)), escape(map.columns[c]));
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    int const y = top + static_cast<int>(r) * map.cell_height;
    svg += fmt::format("<text class=\"soft\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}<title>{}</title></text>\n",
                       left - 5, y + map.cell_height / 2.0 + 4, escape(shortened(map.rows[r], longest_label)),
                       escape(map.rows[r]));
    for (std::size_t c = 0; c < map.columns.size(); ++c) {
      auto const at = r * map.columns.size() + c;
      if (!std::isfinite(map.shade[at])) continue;
      int const x = left + static_cast<int>(c) * map.cell_width;
      svg += fmt::format(
          "<rect class=\"heat\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" "
          "fill-opacity=\"{:.3f}\"><title>{}</title></rect>",
          x, y, map.cell_width, map.cell_height, std::clamp(map.shade[at], 0.0, 1.0), escape(map.titles[at]));
      if (!map.texts.empty() && !map.texts[at].empty())
        svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" pointer-events=\"none\"{}>{}</text>",
                           x + map.cell_width / 2.0, y + map.cell_height / 2.0 + 4,
                           map.shade[at] > 0.62 ? " class=\"on\"" : "", escape(map.texts[at]));
    }
    svg += '\n';
    if (std::find(map.rules.begin(), map.rules.end(), r) != map.rules.end())
      svg += fmt::format("<path class=\"frame\" d=\"M{} {}H{}\"/>", left, y + map.cell_height, width - 4);
  }
  svg += fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", left, top,
                     width - 4 - left, height - 4 - top);
  return svg + "</svg>";
}

}  // namespace retort
