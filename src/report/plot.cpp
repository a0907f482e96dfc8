#include "retort/report/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "retort/report/html.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

constexpr int right = 10, bottom = 36, left = 54;  // room for ticks and labels

double on_scale(double value, Scale scale) {
  return scale == Scale::linear ? value : std::log10(scale == Scale::log ? value : 1 + value);
}

// Numbers of one axis to pixels.
struct Axis {
  Scale scale = Scale::linear;
  double low = std::numeric_limits<double>::infinity(), high = -low;  // on the scale
  double from = 0, to = 1;                                            // pixels

  void cover(double value) {
    double const at = on_scale(value, scale);
    if (!std::isfinite(at)) return;
    low = std::min(low, at);
    high = std::max(high, at);
  }
  bool is_empty() const { return low > high; }
  void widen(double share) {
    double const more = high > low ? (high - low) * share : 0.5;
    low -= more;
    high += more;
  }
  double operator()(double value) const { return from + (on_scale(value, scale) - low) / (high - low) * (to - from); }
  std::vector<double> ticks(int count) const {
    if (scale == Scale::linear) return round_ticks(low, high, count);
    std::vector<double> found;
    double const zero = scale == Scale::log_from_zero ? 1 : 0;
    if (high - low < 1) {
      found = round_ticks(std::pow(10, low) - zero, std::pow(10, high) - zero, count);
    } else {
      auto const step = std::max(1.0, std::ceil((high - low) / count));
      if (zero > 0) found.push_back(0);
      for (double power = std::floor(low); power <= high; power += step)
        for (double const times : {1.0, 2.0, 5.0})
          if ((zero == 0 || power > 0) && (times == 1 || high - low < 2)) found.push_back(times * std::pow(10, power));
    }
    std::erase_if(
        found, [&](double tick) { return on_scale(tick, scale) < low - 1e-9 || on_scale(tick, scale) > high + 1e-9; });
    return found;
  }
};

std::string line_svg(PlotLine const& line, Axis const& x, Axis const& y) {
  std::string path, band, back, marks;
  bool has_band = false;
  for (auto const& point : line.points) {
    if (!std::isfinite(on_scale(point.x, x.scale)) || !std::isfinite(on_scale(point.y, y.scale))) continue;
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? 'M' : 'L', x(point.x), y(point.y));
    if (point.spread > 0) {
      has_band = true;
      marks += fmt::format("<path d=\"M{0:.1f} {1:.1f}V{2:.1f}\" stroke=\"{3}\" stroke-width=\"1.2\" opacity=\".7\"/>",
                           x(point.x), y(point.y - point.spread), y(point.y + point.spread), line.colour);
    }
    band += fmt::format("{}{:.1f} {:.1f}", band.empty() ? 'M' : 'L', x(point.x), y(point.y + point.spread));
    back.insert(0, fmt::format("L{:.1f} {:.1f}", x(point.x), y(point.y - point.spread)));
    if (!point.title.empty())
      marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.2\" fill=\"{}\"><title>{}</title></circle>",
                           x(point.x), y(point.y), line.colour, escape(point.title));
  }
  std::string svg;
  if (has_band) svg += fmt::format("<path d=\"{}{}Z\" fill=\"{}\" opacity=\".13\"/>", band, back, line.colour);
  svg += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"{}/>", path, line.colour,
                     line.width, line.is_dashed ? " stroke-dasharray=\"5 3\"" : "");
  return svg + marks + "\n";
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int count) {
  if (!(high > low)) return {low};
  double const raw = (high - low) / count, power = std::pow(10, std::floor(std::log10(raw)));
  double const step = power * (raw <= power ? 1 : raw <= 2 * power ? 2 : raw <= 5 * power ? 5 : 10);
  std::vector<double> ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i)
    ticks.push_back(i == 0 ? 0 : i * step);
  return ticks;
}

std::string short_number(double value) {
  double const size = std::abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return fmt::format("{:.3g}", value);
  if (size >= 1e4) return fmt::format("{}{}", value < 0 ? "-" : "", with_commas(std::llround(size)));
  std::string text = fmt::format("{:.3f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string svg_of(LinePlot const& plot) {
  int const top = plot.levels.empty() ? 10 : 26;
  Axis x{.scale = plot.x_scale, .from = left, .to = static_cast<double>(plot.width - right)};
  Axis y{.scale = plot.y_scale, .from = static_cast<double>(plot.height - bottom), .to = static_cast<double>(top)};
  for (auto const& line : plot.lines)
    for (auto const& point : line.points) {
      if (!std::isfinite(on_scale(point.y, plot.y_scale))) continue;
      x.cover(point.x);
      y.cover(point.y - point.spread);
      y.cover(point.y + point.spread);
    }
  if (x.is_empty() || y.is_empty()) return "";
  for (auto const& level : plot.levels) y.cover(level.y);
  x.widen(0.05);
  y.widen(0.07);

  std::string svg = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{} against {}\">\n", plot.width,
                                plot.height, escape(plot.y_label), escape(plot.x_label));
  for (double const tick : y.ticks(5))
    svg += fmt::format(
        "<path class=\"grid\" d=\"M{} {:.1f}H{}\"/><text class=\"soft\" x=\"{}\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{}</text>\n",
        left, y(tick), plot.width - right, left - 6, y(tick) + 3.5, short_number(tick));
  for (double const tick : plot.x_ticks.empty() ? x.ticks(5) : plot.x_ticks)
    svg += fmt::format(
        "<path class=\"axis\" d=\"M{0:.1f} {1}v4\"/><text class=\"soft\" x=\"{0:.1f}\" y=\"{2}\" "
        "text-anchor=\"middle\">{3}</text>\n",
        x(tick), plot.height - bottom, plot.height - bottom + 16, short_number(tick));
  svg +=
      fmt::format("<path class=\"axis\" d=\"M{} {}V{}H{}\"/>\n", left, top, plot.height - bottom, plot.width - right);
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", (left + plot.width - right) / 2,
                     plot.height - 5, escape(plot.x_label));
  svg += fmt::format("<text transform=\"translate(11 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                     (top + plot.height - bottom) / 2, escape(plot.y_label));
  for (auto const& line : plot.lines) svg += line_svg(line, x, y);
  int key = left;  // levels lie close to lines and to each other: their words stand above the plot
  for (std::size_t i = 0; i < plot.levels.size(); ++i) {
    auto const& level = plot.levels[i];
    char const* const dashes = i % 2 ? "2 3" : "7 4";
    svg += fmt::format(
        "<path class=\"level\" stroke-dasharray=\"{0}\" d=\"M{1} {2:.1f}H{3}M{4} 8h24\"/><text x=\"{5}\" "
        "y=\"12\">{6}</text>\n",
        dashes, left, y(level.y), plot.width - right, key, key + 28, escape(level.label));
    key += 28 + static_cast<int>(6.6 * static_cast<double>(level.label.size())) + 14;
  }
  return svg + "</svg>";
}

std::string legend(std::vector<LegendEntry> const& entries) {
  std::string html = "<ul class=\"legend\">";
  for (auto const& entry : entries) {
    auto const mark = entry.is_dot ? fmt::format("<circle cx=\"13\" cy=\"6\" r=\"5\" fill=\"{}\"/>", entry.colour)
                                   : fmt::format("<path d=\"M1 6H25\" stroke=\"{}\" stroke-width=\"3\"{}/>",
                                                 entry.colour, entry.is_dashed ? " stroke-dasharray=\"5 3\"" : "");
    html +=
        fmt::format("<li><svg viewBox=\"0 0 26 12\" aria-hidden=\"true\">{}</svg>{}</li>", mark, escape(entry.label));
  }
  return html + "</ul>\n";
}

}  // namespace retort
