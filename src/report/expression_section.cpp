#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "retort/drawing/heat_map.hpp"
#include "retort/drawing/html.hpp"
#include "retort/report/sections.hpp"

namespace retort {

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
