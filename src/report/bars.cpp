#include "retort/report/bars.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "retort/report/html.hpp"

namespace retort {
namespace {

constexpr int row_height = 30, mark_height = 11, above = 14;  // a label's line lies above its mark
constexpr std::size_t longest_label = 46;

}  // namespace

std::string svg_of(BarPlot const& plot) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (auto const& bar : plot.bars) {
    if (!std::isfinite(bar.value)) continue;
    low = std::min(low, bar.value - (plot.are_dots ? bar.spread : 0));
    high = std::max(high, bar.value + (plot.are_dots ? bar.spread : 0));
  }
  if (low > high) return "";
  if (plot.level >= 0) low = std::min(low, plot.level), high = std::max(high, plot.level);
  if (!plot.are_dots) low = std::min(low, 0.0);
  int const room = plot.are_dots ? 92 : 58, before = plot.are_dots ? 6 : 0;  // for values behind marks; for half a dot
  double const scale = high > low ? (plot.width - room - before) / (high - low) : 0;
  auto const x = [&](double value) { return before + (value - low) * scale; };
  int const height = static_cast<int>(plot.bars.size()) * row_height + 2;
  std::string svg = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\">\n", plot.width, height);
  for (std::size_t i = 0; i < plot.bars.size(); ++i) {
    auto const& bar = plot.bars[i];
    int const y = static_cast<int>(i) * row_height;
    double const middle = y + above + mark_height / 2.0;
    bool const has_value = std::isfinite(bar.value);
    double end = has_value ? x(bar.value) : 0;
    if (plot.are_dots)
      svg += fmt::format("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/>", before, middle, plot.width - room);
    if (plot.level >= 0)
      svg += fmt::format("<path class=\"level\" d=\"M{:.1f} {}v{}\"/>", std::max(0.5, x(plot.level)), y + above - 2,
                         mark_height + 4);  // not through the labels
    if (has_value && plot.are_dots) {
      if (bar.spread > 0)
        svg += fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"{}\" stroke-width=\"2\" opacity=\".6\"/>",
                           end - bar.spread * scale, middle, end + bar.spread * scale, bar.colour);
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\" fill=\"{}\"/>", end, middle, bar.colour);
      end = plot.width - room + 4;
    } else if (has_value) {
      end = std::max(1.0, end);
      svg += fmt::format("<rect x=\"0\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/>", y + above, end,
                         mark_height, bar.colour);
    }
    std::string const value = !has_value                        ? "–"
                              : plot.are_dots && bar.spread > 0 ? fmt::format("{:.2f} ± {:.2f}", bar.value, bar.spread)
                                                                : fmt::format("{:.4g}", bar.value);
    svg += fmt::format("<text x=\"0\" y=\"{}\">{}<title>{}</title></text><text x=\"{:.1f}\" y=\"{}\">{}</text>\n",
                       y + above - 3, escape(shortened(bar.label, longest_label)), escape(bar.label), end + 5,
                       y + above + mark_height - 1.5, value);
  }
  return svg + "</svg>";
}

}  // namespace retort
