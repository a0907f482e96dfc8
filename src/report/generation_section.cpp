#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "retort/report/bars.hpp"
#include "retort/report/generation_texts.hpp"
#include "retort/report/heat_map.hpp"
#include "retort/report/html.hpp"
#include "retort/report/meanings.hpp"
#include "retort/report/palette.hpp"
#include "retort/report/sections.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

using nlohmann::json;

using meanings::distances, meanings::Metric, meanings::others;

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
  if (kind == "floor") return fmt::format(texts::floor_set, set);
  if (kind == "autoencoder") return fmt::format(texts::autoencoder_set, set);
  return is_prior(row) ? fmt::format(texts::prior_set, set) : set;
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
  return fmt::format("<p class=\"caption\">{}</p>", escape(texts::about_bars)) + figures(pictures, 300);
}

std::string unseen_of(std::vector<json> const& rows) {
  Table table{{"set"}, {}, 1};
  for (auto const& metric : distances) table.header.emplace_back(metric.title);
  for (auto const& row : rows) {
    if (!row.contains("unseen")) continue;
    table.rows.push_back({title_of(row)});
    for (auto const& metric : distances) table.rows.back().push_back(text_of(metric, row["unseen"]));
  }
  return table.rows.empty() ? "" : fmt::format("<h3>{}</h3>", escape(texts::unseen_classes)) + html_of(table);
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
        map.titles.push_back(fmt::format(texts::distance_of_class, metric.title, map.columns[i], map.rows.back(),
                                         text_of(of_class[i]), with_commas(tests.at(c))));
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

std::string meanings_of_columns() {
  std::string list;
  for (auto const& metric : distances)
    list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(metric.title), escape(metric.meaning));
  for (auto const& metric : others)
    list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(metric.title), escape(metric.meaning));
  return folded(texts::about_columns, "<dl>" + list + "</dl>");
}

// The verdict.

constexpr double zeros_that_matter = 0.02, library_that_matters = 0.1, told_apart = 0.65;

// Nearer to the real test cells than what costs nothing.
std::string nearness_item(json const& row, std::vector<json> const& beside) {
  double const own = number_in(row, "w2");
  double prior = std::nan("");
  std::vector<std::string> said{fmt::format(texts::w2_of_generated, fixed(own, 2))};
  for (auto const& other : beside) {
    if (kind_of(other) == "floor") said.push_back(fmt::format(texts::w2_of_real, fixed(number_in(other, "w2"), 2)));
    if (is_prior(other)) prior = std::fmin(prior, number_in(other, "w2"));
  }
  if (std::isfinite(prior)) said.push_back(fmt::format(texts::w2_of_prior, fixed(prior, 2)));
  return verdict_item(std::isfinite(own) && !(own >= prior), texts::about_nearness, paragraph(said));
}

std::string apart_item(json const& row) {
  double const share = number_in(row, "neighbour_accuracy");
  if (!std::isfinite(share)) return "";
  return verdict_item(share <= told_apart, texts::about_telling_apart,
                      fmt::format(texts::told_by_neighbour, fixed(100 * share, 0)));
}

std::string looks_item(json const& row, json const& real) {
  double const zeros = number_in(row, "zeros"), real_zeros = number_in(real, "zeros"),
               library = number_in(row, "library"), real_library = number_in(real, "library");
  bool const is_good = std::abs(zeros - real_zeros) <= zeros_that_matter &&
                       !(std::abs(library / real_library - 1) > library_that_matters);
  std::vector<std::string> said{
      fmt::format(texts::zeros_of_generated, fixed(100 * zeros, 1), fixed(100 * real_zeros, 1))};
  if (std::isfinite(library) && std::isfinite(real_library))
    said.push_back(fmt::format(texts::counts_of_generated, with_commas(std::llround(library)),
                               with_commas(std::llround(real_library))));
  return verdict_item(is_good, texts::about_looks, paragraph(said));
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
  return verdict_item(highest <= 1.5, texts::about_classes,
                      fmt::format(texts::farthest_class, names[worst].get<std::string>(),
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
    auto const title = [&](texts::Heading const& heading) {
      return generation["comparisons"].size() > 1
                 ? fmt::format(texts::title_of_sets, heading.title, fmt::join(sets, ", "))
                 : heading.title;
    };
    auto const genes = with_commas(comparison.value("genes", std::int64_t{0}));
    html += section(
        title(texts::generation),
        paragraph({fmt::format(texts::generation.caption, values, genes),
                   comparison.value("is_labelled", true) ? texts::means_over_classes : texts::all_cells_together,
                   texts::about_floor}),
        table_of(comparison, rows) + bars_of(rows) + unseen_of(rows) + meanings_of_columns());
    if (auto const maps = classes_of(generation, rows); !maps.empty())
      html += section(title(texts::generation_by_class), texts::generation_by_class.caption, maps);
  }
  return html;
}

std::string latents_section(FinishedRun const& run) {
  auto const latents = run.generation.is_object() ? latents_of(run.generation) : "";
  if (latents.empty()) return "";
  return section(texts::latents.title, texts::latents.caption, latents);
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
  return section(texts::generated_verdict.title,
                 fmt::format(texts::generated_verdict.caption, 100 * told_apart, 100 * zeros_that_matter,
                             100 * library_that_matters),
                 html);
}

}  // namespace retort
