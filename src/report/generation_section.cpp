#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "retort/report/bars.hpp"
#include "retort/report/heat_map.hpp"
#include "retort/report/html.hpp"
#include "retort/report/palette.hpp"
#include "retort/report/sections.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

using nlohmann::json;

struct Metric {
  char const* key;
  char const* title;
  char const* meaning;
  bool is_share = false;
};
// Means over classes; lower is better.
constexpr std::array distances{
    Metric{"w2", "W2",
           "Wasserstein distance (exact transport, squared Euclidean cost, root) in the principal components of the "
           "real test cells' variable genes, class by class, as CFGen and scLDM report it."},
    Metric{"mmd2", "MMD²",
           "Squared maximum mean discrepancy in the same space, with CFGen's sum of five Gaussian kernels."},
    Metric{"frechet", "FD", "Fréchet distance of the Gaussians that fit the two sets in the same space."},
    Metric{"kl", "KL",
           "scRDiT's: Kullback-Leibler divergence of the softmax of a generated cell's expression from a real cell's, "
           "cells paired as they lie."},
    Metric{"w1", "W1", "scRDiT's: Wasserstein distance of all expression values, whatever their cells and genes."},
    Metric{"scrdit_mmd", "MMD (scRDiT)",
           "scRDiT's own MMD, with kernels as wide as the cells lie apart, over blocks of 20 genes; not to be compared "
           "with CFGen's."},
};
constexpr std::array others{
    Metric{"neighbour_accuracy", "1-NN",
           "How often a cell's nearest neighbour tells whether it is real or generated; 0.5 where nobody can tell.",
           true},
    Metric{"precision", "precision", "Share of the generated cells that lie among real ones.", true},
    Metric{"recall", "recall", "Share of the real cells that lie among generated ones.", true},
    Metric{"zeros", "zeros", "Share of values that are exactly zero.", true},
    Metric{"variation", "CV", "Median over genes of the deviation over the mean."},
    Metric{"library", "library", "Mean sum of counts a cell."},
};

std::string text_of(double value) {
  if (!std::isfinite(value)) return "–";
  return std::abs(value) >= 1000 ? with_commas(std::llround(value)) : fmt::format("{:.4g}", value);
}

// Shares have three decimals, distances four digits.
std::string text_of(Metric const& metric, json const& row) {
  double const value = number_in(row, metric.key);
  return metric.is_share && std::isfinite(value) ? fmt::format("{:.3f}", value) : text_of(value);
}

std::string kind_of(json const& row) { return row.value("kind", ""); }

bool is_prior(json const& row) { return kind_of(row) == "prior" || kind_of(row) == "standard prior"; }

std::string title_of(json const& row) {
  std::string const set = row.value("set", ""), kind = kind_of(row);
  return kind == "floor"         ? set + " (real: the floor)"
         : kind == "autoencoder" ? set + " (a perfect generator's)"
         : is_prior(row)         ? set + " (prior)"
                                 : set;
}

std::string colour_of(json const& row) {
  std::string const kind = kind_of(row);
  return kind == "floor" ? "var(--good)" : is_prior(row) || kind == "autoencoder" ? "var(--soft)" : colour(0);
}

std::vector<json> rows_of(json const& generation, std::size_t comparison) {
  std::vector<json> rows;
  for (auto const& row : generation["rows"])
    if (row.value("comparison", std::size_t{0}) == comparison) rows.push_back(row);
  return rows;
}

std::string table_of(json const& comparison, std::vector<json> const& rows) {
  Table table{{"set", "cells"}, {}, 1};
  for (auto const& metric : distances) table.header.emplace_back(metric.title);
  for (auto const& metric : others) table.header.emplace_back(metric.title);
  std::vector<std::string> real{"real test cells", with_commas(comparison.value("test_cells", std::int64_t{0}))};
  for (std::size_t i = 0; i < distances.size(); ++i) real.emplace_back("–");
  for (auto const& metric : others) real.push_back(text_of(metric, comparison["real"]));
  table.rows.push_back(std::move(real));
  for (auto const& row : rows) {
    std::vector<std::string> texts{title_of(row), with_commas(row.value("cells", std::int64_t{0}))};
    for (auto const& metric : distances) texts.push_back(text_of(metric, row));
    for (auto const& metric : others) texts.push_back(text_of(metric, row));
    table.rows.push_back(std::move(texts));
  }
  return html_of(table);
}

std::string bars_of(std::vector<json> const& rows) {
  std::vector<std::string> pictures;
  for (auto const& metric : distances) {
    BarPlot plot;
    for (auto const& row : rows) {
      plot.bars.push_back({title_of(row), number_in(row, metric.key), colour_of(row), 0});
      if (kind_of(row) == "floor") plot.level = number_in(row, metric.key);
    }
    if (auto const svg = svg_of(plot); !svg.empty()) pictures.push_back(figure(metric.title, svg));
  }
  return "<p class=\"caption\">The same as bars; the mark across them is the floor.</p>" + figures(pictures, 300);
}

std::string unseen_of(std::vector<json> const& rows) {
  Table table{{"set"}, {}, 1};
  for (auto const& metric : distances) table.header.emplace_back(metric.title);
  for (auto const& row : rows) {
    if (!row.contains("unseen")) continue;
    table.rows.push_back({title_of(row)});
    for (auto const& metric : distances) table.rows.back().push_back(text_of(metric, row["unseen"]));
  }
  return table.rows.empty() ? "" : "<h3>Classes that no generator was trained on</h3>" + html_of(table);
}

// Distances of every class and set, each metric its map.
std::string classes_of(json const& generation, std::vector<json> const& rows) {
  auto const names = generation.value("classes", std::vector<std::string>{});
  auto const unseen = generation.value("unseen", std::vector<bool>(names.size()));
  auto const tests = generation.value("test_cells_of_class", std::vector<std::int64_t>(names.size()));
  std::vector<std::string> maps;
  for (auto const& metric : {distances[0], distances[1], distances[2]}) {
    HeatMap map{.rows = {}, .columns = {}, .cell_width = 46, .cell_height = 20};
    double highest = 0;
    for (auto const& row : rows)
      map.columns.push_back(kind_of(row) == "floor" ? "train cells (floor)" : row.value("set", ""));
    std::vector<double> values;
    for (std::size_t c = 0; c < names.size(); ++c) {
      std::vector<double> of_class;
      for (auto const& row : rows) {
        auto const& all = row["of_class"][metric.key];
        of_class.push_back(c < all.size() && all[c].is_number() ? all[c].get<double>() : std::nan(""));
      }
      if (std::none_of(of_class.begin(), of_class.end(), [](double value) { return std::isfinite(value); })) continue;
      map.rows.push_back(unseen.at(c) ? names[c] + " (unseen)" : names[c]);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (std::isfinite(of_class[i])) highest = std::max(highest, of_class[i]);
        values.push_back(of_class[i]);
        map.texts.push_back(std::isfinite(of_class[i]) ? fmt::format("{:.3g}", of_class[i]) : "");
        map.titles.push_back(fmt::format("{} of {}: {} {} ({} test cells)", metric.title, map.columns[i],
                                         map.rows.back(), text_of(of_class[i]), with_commas(tests.at(c))));
      }
    }
    for (double const value : values) map.shade.push_back(highest > 0 ? value / highest : value);
    if (!map.rows.empty()) maps.push_back(figure(metric.title, svg_of(map)));
  }
  if (maps.empty()) return "";
  return figures(maps, 330);
}

std::string latents_of(json const& generation) {
  std::string html;
  if (generation.contains("reconstruction")) {
    auto const& scores = generation["reconstruction"];
    html += html_of(
        {{"RE", "PCC", "MSE"},
         {{text_of(number_in(scores, "re")), text_of(number_in(scores, "pcc")), text_of(number_in(scores, "mse"))}},
         0});
  }
  if (generation.contains("classification") && generation["classification"].is_object()) {
    Table table{{"label", "classifier", "classes", "accuracy (%)", "macro F1 (%)", "ROC-AUC", "PR-AUC"}, {}, 2};
    for (auto const& [column, scores] : generation["classification"].items())
      for (auto const& [key, name] :
           {std::pair{"neighbours", "nearest neighbours"}, {"logistic_regression", "logistic regression"}}) {
        if (!scores.contains(key)) continue;
        table.rows.push_back({column, name, text_of(number_in(scores, "classes"))});
        for (char const* score : {"accuracy", "macro_f1", "roc_auc", "pr_auc"})
          table.rows.back().push_back(text_of(number_in(scores[key], score)));
      }
    if (!table.rows.empty()) html += html_of(table);
  }
  return html;
}

std::string meanings() {
  std::string list;
  for (auto const& metric : distances)
    list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(metric.title), escape(metric.meaning));
  for (auto const& metric : others)
    list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(metric.title), escape(metric.meaning));
  return folded("What the columns mean", "<dl>" + list + "</dl>");
}

// The verdict.

constexpr double zeros_that_matter = 0.02, library_that_matters = 0.1, told_apart = 0.65;

// Nearer to the real test cells than what costs nothing.
std::string nearness_item(json const& row, std::vector<json> const& beside) {
  double const own = number_in(row, "w2");
  double prior = std::nan("");
  std::string text = fmt::format("W2 to the real test cells {}", fixed(own, 2));
  for (auto const& other : beside) {
    if (kind_of(other) == "floor") text += fmt::format("; of real train cells {}", fixed(number_in(other, "w2"), 2));
    if (is_prior(other)) prior = std::fmin(prior, number_in(other, "w2"));
  }
  if (std::isfinite(prior))
    text += fmt::format("; of Gaussians fitted to each class, which cost nothing, {}", fixed(prior, 2));
  return verdict_item(std::isfinite(own) && !(own >= prior), "Near real cells?", text + ".");
}

std::string apart_item(json const& row) {
  double const share = number_in(row, "neighbour_accuracy");
  if (!std::isfinite(share)) return "";
  return verdict_item(
      share <= told_apart, "Can they be told apart?",
      fmt::format("By its nearest neighbour a cell is known as real or generated in {} % of cases (50 is a guess).",
                  fixed(100 * share, 0)));
}

std::string looks_item(json const& row, json const& real) {
  double const zeros = number_in(row, "zeros"), real_zeros = number_in(real, "zeros"),
               library = number_in(row, "library"), real_library = number_in(real, "library");
  bool const is_good = std::abs(zeros - real_zeros) <= zeros_that_matter &&
                       !(std::abs(library / real_library - 1) > library_that_matters);
  std::string const sums = std::isfinite(library) && std::isfinite(real_library)
                               ? fmt::format("; {} counts a cell, {} a real one", with_commas(std::llround(library)),
                                             with_commas(std::llround(real_library)))
                               : "";
  return verdict_item(is_good, "Do they look like cells?",
                      fmt::format("{} % of their values are zero, {} % of real cells'{}.", fixed(100 * zeros, 1),
                                  fixed(100 * real_zeros, 1), sums));
}

// The class that the set fits worst beside what real cells of it would.
std::string classes_item(json const& row, std::vector<json> const& beside, json const& names) {
  auto const of_class = [](json const& of) { return of.value("of_class", json::object()).value("w2", json::array()); };
  auto const floor =
      std::find_if(beside.begin(), beside.end(), [](json const& other) { return kind_of(other) == "floor"; });
  if (floor == beside.end()) return "";
  auto const own = of_class(row), real = of_class(*floor);
  std::size_t worst = 0;
  double highest = 0;
  for (std::size_t c = 0; c < std::min({own.size(), real.size(), names.size()}); ++c) {
    if (!own[c].is_number() || !real[c].is_number()) continue;
    if (double const ratio = own[c].get<double>() / real[c].get<double>(); ratio > highest) highest = ratio, worst = c;
  }
  if (highest == 0) return "";
  return verdict_item(
      highest <= 1.5, "Classes.",
      fmt::format("Farthest from its real cells is {}: W2 {}, of real train cells {}.", names[worst].get<std::string>(),
                  fixed(own[worst].get<double>(), 2), fixed(real[worst].get<double>(), 2)));
}

}  // namespace

std::string generation_section(FinishedRun const& run) {
  auto const& generation = run.generation;
  if (!generation.is_object() || !generation.contains("rows") || !generation.contains("comparisons")) return "";
  std::string html;
  for (std::size_t c = 0; c < generation["comparisons"].size(); ++c) {
    auto const& comparison = generation["comparisons"][c];
    auto const rows = rows_of(generation, c);
    std::string const values = comparison.value("values", "") == "counts" ? "counts" : "log-normalised expression";
    std::vector<std::string> sets;  // sets on other terms have a section of their own
    for (auto const& row : rows)
      if (kind_of(row) == "generated") sets.push_back(row.value("set", ""));
    std::string const of = generation["comparisons"].size() > 1 ? fmt::format(": {}", fmt::join(sets, ", ")) : "";
    html +=
        section("Generated cells beside real ones" + of,
                fmt::format("Distances between as many real test cells and generated ones, {} (lower is better), on {} "
                            "of {} genes. Real train cells in the place of generated ones are the floor: nothing can "
                            "be expected below it. A Gaussian "
                            "fitted to each class is what a generator must beat. Good is 1-NN near 0.5, precision and "
                            "recall near the floor's, and zeros, CV and library near those of the real test cells.",
                            comparison.value("is_labelled", true) ? "means over classes"
                                                                  : "all cells together, because the set has no labels",
                            values, with_commas(comparison.value("genes", std::int64_t{0}))),
                table_of(comparison, rows) + bars_of(rows) + unseen_of(rows) + meanings());
    if (auto const maps = classes_of(generation, rows); !maps.empty())
      html += section(
          "Generated cells, class by class" + of,
          "The distances that the means above are made of; empty where a side has fewer than two cells. Good is a row "
          "that is as faint under a generated set as under the floor; few test cells make every distance large.",
          maps);
  }
  return html;
}

std::string latents_section(FinishedRun const& run) {
  auto const latents = run.generation.is_object() ? latents_of(run.generation) : "";
  if (latents.empty()) return "";
  return section(
      "What the autoencoder keeps",
      "Test cells through the autoencoder and back: RE is minus the log likelihood of a cell's counts (lower is "
      "better), PCC the correlation of each gene between real cells and one sample of the prediction, MSE their "
      "squared difference (log-normalised). "
      "Below, classifiers trained on train cells' latents and tried on test cells': good is near what genes give.",
      latents);
}

std::string generated_verdict_section(FinishedRun const& run) {
  auto const& generation = run.generation;
  if (!generation.is_object() || !generation.contains("rows") || !generation.contains("comparisons")) return "";
  std::string html;
  for (auto const& row : generation["rows"]) {
    if (kind_of(row) != "generated") continue;
    auto const place = row.value("comparison", std::size_t{0});
    auto const beside = rows_of(generation, place);
    html += fmt::format("<h3>{}</h3>\n", escape(row.value("set", ""))) +
            verdict_list(nearness_item(row, beside) + apart_item(row) +
                         looks_item(row, generation["comparisons"].at(place).value("real", json::object())) +
                         classes_item(row, beside, generation.value("classes", json::array())));
  }
  if (html.empty()) return "";
  return section(
      "Are the generated cells good enough?",
      fmt::format("What this page says of each generated set, in short. A tick: nearer to the real test cells than any "
                  "Gaussian; told apart in at most {:.0f} % of cases; zeros within {:.0f} points and counts within "
                  "{:.0f} % of real cells'; no class more than one and a half times as "
                  "far as real train cells. An exclamation mark: look closer.",
                  100 * told_apart, 100 * zeros_that_matter, 100 * library_that_matters),
      html);
}

}  // namespace retort
