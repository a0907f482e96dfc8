#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "retort/cells/variable_genes.hpp"
#include "retort/report/heat_map.hpp"
#include "retort/report/html.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

struct ShownGene {
  std::size_t gene;
  std::string note;  // after the value, where somebody points at it
};

// A picture of real class means and one of distilled ones; one scale per gene, of the real means, for both.
std::string twice(std::vector<ShownGene> const& shown, std::vector<std::size_t> const& rules, ClassMeans const& real,
                  ClassMeans const& distilled, std::vector<std::string> const& gene_names,
                  std::vector<std::string> const& class_names) {
  auto const genes = index(real.genes), classes = class_names.size();
  std::vector<std::string> rows, pictures;
  for (auto const& one : shown) rows.push_back(gene_names[one.gene]);
  for (auto const* means : {&real, &distilled}) {
    HeatMap map{
        .rows = rows, .columns = class_names, .cell_width = classes > 16 ? 12 : 20, .cell_height = 14, .rules = rules};
    for (auto const& [gene, note] : shown) {
      double low = std::numeric_limits<double>::infinity(), high = 0;
      for (std::size_t c = 0; c < classes; ++c) {
        if (!real.cells[c]) continue;
        low = std::min(low, real.mean[c * genes + gene]);
        high = std::max(high, real.mean[c * genes + gene]);
      }
      for (std::size_t c = 0; c < classes; ++c) {
        double const value = means->mean[c * genes + gene];
        map.shade.push_back(means->cells[c] ? std::clamp((value - low) / std::max(high - low, 1e-9), 0.0, 1.0)
                                            : std::nan(""));
        map.titles.push_back(fmt::format("{} in {}: {:.2f}{}", gene_names[gene], class_names[c], value, note));
      }
    }
    pictures.push_back(figure(means == &real ? "Real cells" : "Distilled cells", svg_of(map)));
  }
  return figures(pictures, 380);
}

// How far real and distilled means agree over what is shown.
double correlation_of(std::vector<ShownGene> const& shown, ClassMeans const& real, ClassMeans const& distilled) {
  auto const genes = index(real.genes);
  double n = 0, sum_a = 0, sum_b = 0, aa = 0, bb = 0, ab = 0;
  for (auto const& one : shown)
    for (std::size_t c = 0; c < real.cells.size(); ++c) {
      if (!real.cells[c] || !distilled.cells[c]) continue;
      double const a = real.mean[c * genes + one.gene], b = distilled.mean[c * genes + one.gene];
      ++n, sum_a += a, sum_b += b, aa += a * a, bb += b * b, ab += a * b;
    }
  return (n * ab - sum_a * sum_b) / std::sqrt((n * aa - sum_a * sum_a) * (n * bb - sum_b * sum_b));
}

}  // namespace

std::string expression_section(ClassMeans const& real, ClassMeans const& distilled,
                               std::vector<std::string> const& gene_names,
                               std::vector<std::string> const& class_names) {
  auto const markers = marker_genes(real, 3);
  std::vector<ShownGene> marking, varying;
  std::vector<std::size_t> groups;
  for (std::size_t c = 0; c < class_names.size(); ++c) {
    for (auto const gene : markers[c]) marking.push_back({index(gene), fmt::format(" (marks {})", class_names[c])});
    if (!marking.empty()) groups.push_back(marking.size() - 1);
  }
  if (marking.empty()) return "";
  constexpr std::int64_t most_varying = 30;
  for (auto const gene : highest_genes(real.variance, most_varying)) varying.push_back({index(gene), ""});
  std::stable_sort(varying.begin(), varying.end(),
                   [&](auto const& a, auto const& b) { return real.variance[a.gene] > real.variance[b.gene]; });
  auto const caption = [&](std::string const& what, std::vector<ShownGene> const& shown) {
    double const correlation = correlation_of(shown, real, distilled);
    return std::isfinite(correlation) ? paragraph({what, fmt::format(texts::values_correlate, correlation)}) : what;
  };
  return section(texts::markers.title, caption(texts::markers.caption, marking),
                 twice(marking, groups, real, distilled, gene_names, class_names)) +
         section(texts::variable_genes.title,
                 caption(fmt::format(texts::variable_genes.caption, varying.size()), varying),
                 twice(varying, {}, real, distilled, gene_names, class_names));
}

}  // namespace retort
