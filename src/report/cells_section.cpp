#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "retort/report/heat_map.hpp"
#include "retort/report/html.hpp"
#include "retort/report/palette.hpp"
#include "retort/report/plot.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/umap.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

constexpr double map_width = 400;

struct Place {
  double x = 0, y = 0;
};

// The cell of a class that lies nearest its median; NaN for a class without cells.
Place middle_of(std::vector<Place> const& places, std::vector<std::int32_t> const& classes, std::int32_t wanted) {
  std::vector<double> x, y;
  for (std::size_t i = 0; i < classes.size(); ++i)
    if (classes[i] == wanted) x.push_back(places[i].x), y.push_back(places[i].y);
  if (x.empty()) return {std::nan(""), std::nan("")};
  auto const median = [](std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
    return values[values.size() / 2];
  };
  double const to_x = median(x), to_y = median(y);
  std::size_t nearest = 0;
  for (std::size_t i = 1; i < x.size(); ++i)
    if (std::hypot(x[i] - to_x, y[i] - to_y) < std::hypot(x[nearest] - to_x, y[nearest] - to_y)) nearest = i;
  return {x[nearest], y[nearest]};
}

// Words that lie on each other are pushed apart, up and down, and kept inside.
void part(std::vector<Place>& at, std::vector<std::string> const& words, double height) {
  constexpr double line = 11, letter = 5.5;
  for (int round = 0; round < 60; ++round)
    for (std::size_t a = 0; a < at.size(); ++a)
      for (std::size_t b = a + 1; b < at.size(); ++b) {
        double const room = letter * static_cast<double>(words[a].size() + words[b].size()) / 2 + 3;
        double const apart = at[b].y - at[a].y;
        if (!(std::abs(at[b].x - at[a].x) < room && std::abs(apart) < line)) continue;
        double const push = (line - std::abs(apart)) / 2 * (apart < 0 ? -1 : 1);
        at[a].y = std::clamp(at[a].y - push, line, height - 4);
        at[b].y = std::clamp(at[b].y + push, line, height - 4);
      }
}

}  // namespace

std::string map_section(MappedCells const& real, MappedCells const& distilled, std::int64_t width, std::vector<std::string> const& class_names, std::uint64_t seed) {
  auto points = real.features;
  points.insert(points.end(), distilled.features.begin(), distilled.features.end());
  auto const embedding = umap(points, width, seed);
  double low_x = std::numeric_limits<double>::infinity(), high_x = -low_x, low_y = low_x, high_y = -low_x;
  for (std::size_t i = 0; i < embedding.size(); i += 2) {
    low_x = std::min(low_x, embedding[i]), high_x = std::max(high_x, embedding[i]);
    low_y = std::min(low_y, embedding[i + 1]), high_y = std::max(high_y, embedding[i + 1]);
  }
  // One scale for both directions; the plot is as high as it must be.
  double const scale = (map_width - 24) / std::max({high_x - low_x, (high_y - low_y) / 1.1, 1e-9}), height = (high_y - low_y) * scale + 24;
  double const shift = (map_width - (high_x - low_x) * scale) / 2;
  std::vector<Place> places;
  for (std::size_t i = 0; i < embedding.size(); i += 2) places.push_back({(embedding[i] - low_x) * scale + shift, (high_y - embedding[i + 1]) * scale + 12});

  std::vector<std::int64_t> shown(class_names.size());
  std::vector<std::string> dots(class_names.size());
  for (std::size_t i = 0; i < real.classes.size(); ++i) {
    auto const c = static_cast<std::size_t>(real.classes[i]);
    ++shown[c];
    dots[c] += fmt::format("M{:.1f} {:.1f}h0", places[i].x, places[i].y);
  }
  std::string svg = fmt::format("<svg class=\"map\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"UMAP of real and distilled cells\">\n", map_width, height);
  double const dot = real.classes.size() > 4000 ? 1.6 : real.classes.size() > 1000 ? 2.4 : 3.2;
  for (std::size_t c = 0; c < dots.size(); ++c)
    if (shown[c]) svg += fmt::format("<path d=\"{}\" stroke=\"{}\" stroke-width=\"{}\" stroke-linecap=\"round\" opacity=\".7\"><title>{}</title></path>\n", dots[c], colour(c), dot, escape(class_names[c]));
  double const radius = distilled.classes.size() > 300 ? 2.2 : 3.4;
  for (std::size_t i = 0; i < distilled.classes.size(); ++i) {
    auto const c = static_cast<std::size_t>(distilled.classes[i]);
    auto const& at = places[real.classes.size() + i];
    svg += fmt::format("<circle class=\"mark\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"><title>distilled {}</title></circle>\n", at.x, at.y, radius, colour(c), escape(class_names[c]));
  }

  // Names on the map where they are short and few, else numbers that the legend explains.
  std::size_t longest = 0;
  for (auto const& name : class_names) longest = std::max(longest, name.size());
  bool const by_name = longest <= 14 && class_names.size() <= 16;
  std::vector<Place> middles;
  std::vector<std::string> words;
  std::vector<LegendEntry> entries;
  for (std::size_t c = 0; c < class_names.size(); ++c) {
    entries.push_back({fmt::format("{}{} ({})", by_name ? "" : fmt::format("{} ", c + 1), class_names[c], shown[c]), colour(c), false, true});
    auto const middle = middle_of(places, real.classes, static_cast<std::int32_t>(c));
    if (std::isnan(middle.x)) continue;
    words.push_back(by_name ? class_names[c] : std::to_string(c + 1));
    double const half = 3 * static_cast<double>(words.back().size());
    middles.push_back({std::clamp(middle.x, half, map_width - half), middle.y});
  }
  part(middles, words, height);
  for (std::size_t i = 0; i < words.size(); ++i)
    svg += fmt::format("<text class=\"halo\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" font-weight=\"650\" pointer-events=\"none\">{}</text>\n", middles[i].x, middles[i].y + 3, escape(words[i]));
  std::string const marks = distilled.classes.empty() ? "" : fmt::format(" Larger outlined marks are the {} distilled cells. Good is marks that lie in the cloud of their own colour; those of matching head may lie apart from all clouds: they teach a classifier differences and need not look like cells.", with_commas(std::ssize(distilled.classes)));
  return section("Map of cells",
                 fmt::format("UMAP of the frozen encoder's features: small dots are {} real test cells drawn class by class (numbers drawn in brackets).{} Distances between clouds mean little.", with_commas(std::ssize(real.classes)), marks),
                 "<div class=\"with-legend\"><figure>" + svg + "</svg></figure>\n" + legend(entries) + "</div>\n");
}

std::string expression_section(ClassMeans const& real, ClassMeans const& distilled, std::vector<std::string> const& gene_names, std::vector<std::string> const& class_names) {
  auto const markers = marker_genes(real, 3);
  auto const genes = static_cast<std::size_t>(real.genes), classes = class_names.size();
  std::vector<std::size_t> shown;
  std::vector<std::string> rows, marked_for;
  std::vector<std::size_t> groups;
  for (std::size_t c = 0; c < classes; ++c) {
    for (auto const gene : markers[c]) {
      shown.push_back(static_cast<std::size_t>(gene));
      rows.push_back(gene_names[static_cast<std::size_t>(gene)]);
      marked_for.push_back(class_names[c]);
    }
    if (!shown.empty()) groups.push_back(shown.size() - 1);
  }
  if (shown.empty()) return "";

  // One scale a gene, of the real means, for both pictures.
  std::vector<std::string> pictures;
  for (auto const* means : {&real, &distilled}) {
    HeatMap map{.rows = rows, .columns = class_names, .cell_width = classes > 16 ? 12 : 20, .cell_height = 14, .rules = groups};
    for (std::size_t i = 0; i < shown.size(); ++i) {
      double low = std::numeric_limits<double>::infinity(), high = 0;
      for (std::size_t c = 0; c < classes; ++c) {
        if (!real.cells[c]) continue;
        low = std::min(low, real.mean[c * genes + shown[i]]);
        high = std::max(high, real.mean[c * genes + shown[i]]);
      }
      for (std::size_t c = 0; c < classes; ++c) {
        double const value = means->mean[c * genes + shown[i]];
        map.shade.push_back(means->cells[c] ? std::clamp((value - low) / std::max(high - low, 1e-9), 0.0, 1.0) : std::nan(""));
        map.titles.push_back(fmt::format("{} in {}: {:.2f} (marks {})", rows[i], class_names[c], value, marked_for[i]));
      }
    }
    pictures.push_back(figure(means == &real ? "Real cells" : "Distilled cells", svg_of(map)));
  }

  // How far the two agree over what is shown.
  double n = 0, sum_a = 0, sum_b = 0, aa = 0, bb = 0, ab = 0;
  for (auto const gene : shown)
    for (std::size_t c = 0; c < classes; ++c) {
      if (!real.cells[c] || !distilled.cells[c]) continue;
      double const a = real.mean[c * genes + gene], b = distilled.mean[c * genes + gene];
      ++n, sum_a += a, sum_b += b, aa += a * a, bb += b * b, ab += a * b;
    }
  double const correlation = (n * ab - sum_a * sum_b) / std::sqrt((n * aa - sum_a * sum_a) * (n * bb - sum_b * sum_b));
  return section("Marker genes",
                 fmt::format("Mean log-normalised expression of up to three genes a class that stand out most in it among the 2,000 most variable ones, each gene from its lowest (empty) to its highest (full) real class mean. Good is the same picture twice{}.",
                             std::isfinite(correlation) ? fmt::format("; the values shown correlate with {:.2f}", correlation) : ""),
                 figures(pictures, 380));
}

}  // namespace retort
