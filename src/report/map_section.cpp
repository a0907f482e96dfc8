#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "retort/report/html.hpp"
#include "retort/report/palette.hpp"
#include "retort/report/plot.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"
#include "retort/report/umap.hpp"
#include "retort/run/index.hpp"
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

// Cells in two dimensions, one scale for both directions; the picture is as high as it must be.
struct Plane {
  std::vector<Place> places;
  double height = 0;
};

Plane plane_of(std::vector<float> const& features, std::int64_t width, std::uint64_t seed) {
  auto const embedding = umap(features, width, seed);
  double low_x = std::numeric_limits<double>::infinity(), high_x = -low_x, low_y = low_x, high_y = -low_x;
  for (std::size_t i = 0; i < embedding.size(); i += 2) {
    low_x = std::min(low_x, embedding[i]), high_x = std::max(high_x, embedding[i]);
    low_y = std::min(low_y, embedding[i + 1]), high_y = std::max(high_y, embedding[i + 1]);
  }
  double const scale = (map_width - 24) / std::max({high_x - low_x, (high_y - low_y) / 1.1, 1e-9}),
               shift = (map_width - (high_x - low_x) * scale) / 2;
  Plane plane{{}, (high_y - low_y) * scale + 24};
  for (std::size_t i = 0; i < embedding.size(); i += 2)
    plane.places.push_back({(embedding[i] - low_x) * scale + shift, (high_y - embedding[i + 1]) * scale + 12});
  return plane;
}

std::string opened_svg(Plane const& plane, std::string const& what) {
  return fmt::format("<svg class=\"map\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">\n", map_width,
                     plane.height, escape(what));
}

double dot_of(std::size_t cells) { return cells > 4000 ? 1.6 : cells > 1000 ? 2.4 : 3.2; }

// Dots of cells from `first` on, a path a class; cells without a class (-1) in ink.
std::string dots_by_class(Plane const& plane, std::size_t first, std::vector<std::int32_t> const& classes,
                          std::vector<std::string> const& class_names) {
  std::vector<std::string> dots(class_names.size() + 1);
  for (std::size_t i = 0; i < classes.size(); ++i)
    (classes[i] < 0 ? dots.back() : dots[index(classes[i])]) +=
        fmt::format("M{:.1f} {:.1f}h0", plane.places[first + i].x, plane.places[first + i].y);
  std::string svg;
  for (std::size_t c = 0; c < dots.size(); ++c) {
    bool const has_class = c < class_names.size();
    if (!dots[c].empty())
      svg += fmt::format(
          "<path d=\"{}\" stroke=\"{}\" stroke-width=\"{}\" stroke-linecap=\"round\" "
          "opacity=\".7\"><title>{}</title></path>\n",
          dots[c], has_class ? colour(c) : "var(--ink)", dot_of(classes.size()),
          has_class ? escape(class_names[c]) : "no class");
  }
  return svg;
}

// Names on the map where they are short and few, else numbers that the legend explains.
bool are_named_on_map(std::vector<std::string> const& class_names) {
  return class_names.size() <= 16 &&
         std::all_of(class_names.begin(), class_names.end(), [](auto const& name) { return name.size() <= 14; });
}

// The words over the classes' clouds, for cells that come first in the plane.
std::string words_on_map(Plane const& plane, std::vector<std::int32_t> const& classes,
                         std::vector<std::string> const& class_names) {
  bool const by_name = are_named_on_map(class_names);
  std::vector<Place> middles;
  std::vector<std::string> words;
  for (std::size_t c = 0; c < class_names.size(); ++c) {
    auto const middle = middle_of(plane.places, classes, static_cast<std::int32_t>(c));
    if (std::isnan(middle.x)) continue;
    words.push_back(by_name ? class_names[c] : std::to_string(c + 1));
    double const half = 3 * static_cast<double>(words.back().size());
    middles.push_back({std::clamp(middle.x, half, map_width - half), middle.y});
  }
  part(middles, words, plane.height);
  std::string svg;
  for (std::size_t i = 0; i < words.size(); ++i)
    svg += fmt::format(
        "<text class=\"halo\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" font-weight=\"650\" "
        "pointer-events=\"none\">{}</text>\n",
        middles[i].x, middles[i].y + 3, escape(words[i]));
  return svg;
}

std::string class_legend(std::vector<std::int32_t> const& classes, std::vector<std::string> const& class_names) {
  std::vector<std::int64_t> shown(class_names.size());
  for (auto const c : classes) ++shown[index(c)];
  std::vector<LegendEntry> entries;
  for (std::size_t c = 0; c < class_names.size(); ++c)
    entries.push_back({fmt::format("{}{} ({})", are_named_on_map(class_names) ? "" : fmt::format("{} ", c + 1),
                                   class_names[c], shown[c]),
                       colour(c), false, true});
  return legend(entries);
}

}  // namespace

std::string map_section(MappedCells const& real, MappedCells const& distilled, std::int64_t width,
                        std::vector<std::string> const& class_names, std::uint64_t seed) {
  auto points = real.features;
  points.insert(points.end(), distilled.features.begin(), distilled.features.end());
  auto const plane = plane_of(points, width, seed);
  std::string svg =
      opened_svg(plane, "UMAP of real and distilled cells") + dots_by_class(plane, 0, real.classes, class_names);
  double const radius = distilled.classes.size() > 300 ? 2.2 : 3.4;
  for (std::size_t i = 0; i < distilled.classes.size(); ++i) {
    auto const c = index(distilled.classes[i]);
    auto const& at = plane.places[real.classes.size() + i];
    svg += fmt::format(
        "<circle class=\"mark\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"><title>distilled "
        "{}</title></circle>\n",
        at.x, at.y, radius, colour(c), escape(class_names[c]));
  }
  svg += words_on_map(plane, real.classes, class_names);
  std::vector<std::string> captions{fmt::format(texts::map.caption, with_commas(std::ssize(real.classes)))};
  if (!distilled.classes.empty())
    captions.push_back(fmt::format(texts::marks_on_map, with_commas(std::ssize(distilled.classes))));
  captions.emplace_back(texts::about_distances);
  return section(texts::map.title, paragraph(captions),
                 "<div class=\"with-legend\"><figure>" + svg + "</svg></figure>\n" +
                     class_legend(real.classes, class_names) + "</div>\n");
}

std::string generated_map_section(MappedCells const& real, std::vector<MappedSet> const& sets, std::int64_t width,
                                  std::string const& space, std::vector<std::string> const& class_names,
                                  std::uint64_t seed) {
  auto points = real.features;
  for (auto const& set : sets) points.insert(points.end(), set.cells.features.begin(), set.cells.features.end());
  auto const plane = plane_of(points, width, seed);
  std::string shadow;  // the real cells, under each set
  for (std::size_t i = 0; i < real.classes.size(); ++i)
    shadow += fmt::format("M{:.1f} {:.1f}h0", plane.places[i].x, plane.places[i].y);
  shadow = fmt::format("<path class=\"shadow\" d=\"{}\" stroke-width=\"{}\" stroke-linecap=\"round\"/>\n", shadow,
                       dot_of(real.classes.size()) + 1);
  std::vector<std::string> panels{figure("Real test cells", opened_svg(plane, "UMAP of real test cells") +
                                                                dots_by_class(plane, 0, real.classes, class_names) +
                                                                words_on_map(plane, real.classes, class_names) +
                                                                "</svg>")};
  std::size_t first = real.classes.size();
  for (auto const& set : sets) {
    panels.push_back(figure(set.name, opened_svg(plane, "UMAP of generated cells") + shadow +
                                          dots_by_class(plane, first, set.cells.classes, class_names) + "</svg>"));
    first += set.cells.classes.size();
  }
  return section(texts::generated_map.title,
                 fmt::format(texts::generated_map.caption, space, with_commas(std::ssize(real.classes))),
                 figures(panels, 330) + class_legend(real.classes, class_names));
}

}  // namespace retort
