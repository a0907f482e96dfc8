#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "retort/report/bars.hpp"
#include "retort/report/heat_map.hpp"
#include "retort/report/html.hpp"
#include "retort/report/meanings.hpp"
#include "retort/report/palette.hpp"
#include "retort/report/plot.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

// Baselines of one kind have one name at one cell per class and another above; they are one line.
std::string series_of(nlohmann::json const& row) {
  std::string const variant = row.value("variant", ""), matching = row.value("matching", "");
  if (variant == "medoid" || variant == "kmeans") return texts::central_cells;
  if (variant == "class_mean" || variant == "kmeans_mean") return texts::means_of_cells;
  if (variant == "random" && matching.empty()) return texts::random_cells;
  return variant + " " + matching;
}

double spread_of(nlohmann::json const& row) {
  return row.value("draws", 1) > 1 ? row.value("accuracy_sd_draws", 0.0) : row.value("accuracy_sd", 0.0);
}

// The points of a plot under each other, where sets have one size and would lie on each other.
std::string dots_of(LinePlot const& plot, std::vector<std::string> const& names) {
  BarPlot dots{.bars = {}, .are_dots = true, .width = 420};
  for (std::size_t s = 0; s < plot.lines.size(); ++s)
    for (auto const& point : plot.lines[s].points)
      dots.bars.push_back({names[s], point.y, plot.lines[s].colour, point.spread});
  if (!plot.levels.empty()) {
    dots.level = plot.levels.front().y;
    dots.bars.insert(dots.bars.begin(), {"all train cells", dots.level, "var(--ink)", 0});
  }
  return svg_of(dots);
}

bool are_rows(nlohmann::json const& value) {
  return value.is_array() && !value.empty() && value[0].is_object() && value[0].contains("variant") &&
         value[0].contains("spc") && value[0].contains("accuracy_mean");
}

std::string judge_title(std::string const& key) {
  for (auto const& [name, title] : meanings::judges)
    if (key == name) return title;
  return key;
}

}  // namespace

std::string accuracy_section(FinishedRun const& run) {
  std::vector<std::string> series;  // in the order of the table, baselines last
  auto const is_baseline = [](nlohmann::json const& row) { return row.value("matching", "").empty(); };
  for (bool const baselines : {false, true})
    for (auto const& [key, rows] : run.results.items())
      for (auto const& row : are_rows(rows) ? rows : nlohmann::json::array()) {
        if (row.value("spc", 0) == 0 || is_baseline(row) != baselines) continue;
        if (auto const name = series_of(row); std::find(series.begin(), series.end(), name) == series.end())
          series.push_back(name);
      }
  std::vector<LegendEntry> entries;
  std::vector<std::string> plots;
  std::vector<std::string> keys;
  for (auto const& [key, rows] : run.results.items())
    if (are_rows(rows)) keys.insert(key == "rows" ? keys.begin() : keys.end(), key);
  std::set<std::string> dashed;
  bool has_lines = false;
  for (auto const& key : keys) {
    LinePlot plot{.x_label = "synthetic cells per class", .y_label = "accuracy (%)", .x_scale = Scale::log};
    std::set<double> spc;
    for (std::size_t s = 0; s < series.size(); ++s) {
      PlotLine line{.colour = colour(s)};
      for (auto const& row : run.results[key]) {
        if (row.value("spc", 0) == 0 || series_of(row) != series[s]) continue;
        double const x = row.value("spc", 0.0), accuracy = row.value("accuracy_mean", 0.0), spread = spread_of(row);
        line.is_dashed = is_baseline(row);
        line.points.push_back({x, accuracy, spread,
                               fmt::format(texts::point_of_accuracy, row.value("variant", ""),
                                           row.value("matching", ""), x, accuracy, spread)});
        spc.insert(x);
      }
      std::sort(line.points.begin(), line.points.end(), [](auto const& a, auto const& b) { return a.x < b.x; });
      if (line.is_dashed) dashed.insert(series[s]);
      plot.lines.push_back(std::move(line));
    }
    plot.x_ticks.assign(spc.begin(), spc.end());
    if (auto const full = row_named(run.results[key], "full", "", 0); !full.is_null())
      plot.levels.push_back(
          {full.value("accuracy_mean", 0.0), fmt::format(texts::level_of_all, full.value("accuracy_mean", 0.0))});
    if (auto const genes = row_named(run.results["rows"], "genes", "", 0); !genes.is_null())
      plot.levels.push_back(
          {genes.value("accuracy_mean", 0.0), fmt::format(texts::level_of_genes, genes.value("accuracy_mean", 0.0))});
    auto const svg = spc.size() == 1 ? dots_of(plot, series) : svg_of(plot);
    has_lines = has_lines || spc.size() > 1;
    if (!svg.empty()) plots.push_back(figure(judge_title(key), svg));
  }
  if (plots.empty()) return "";
  for (std::size_t s = 0; s < series.size(); ++s) entries.push_back({series[s], colour(s), dashed.contains(series[s])});
  if (!has_lines)
    return section(texts::accuracy_of_one_size.title, texts::accuracy_of_one_size.caption, figures(plots, 380));
  return section(texts::accuracy_of_sizes.title, texts::accuracy_of_sizes.caption,
                 legend(entries) + figures(plots, 380));
}

std::string confusion_section(FinishedRun const& run) {
  if (!run.results.contains("confusion") || !run.results["confusion"].is_array()) return "";
  std::vector<std::string> const names = run.results["data"].value("class_names", std::vector<std::string>{});
  std::vector<std::string> maps;
  for (auto const& one : run.results["confusion"]) {
    auto const counts = one.value("counts", std::vector<std::vector<std::int64_t>>{});
    if (counts.size() != names.size() || names.empty()) continue;
    HeatMap map{.rows = names, .columns = names, .row_label = "true class", .column_label = "predicted class"};
    if (names.size() > 16) map.cell_width = map.cell_height = 14;
    for (std::size_t t = 0; t < counts.size(); ++t) {
      std::int64_t all = 0;
      for (auto const count : counts[t]) all += count;
      for (std::size_t p = 0; p < names.size(); ++p) {
        double const share = all ? static_cast<double>(counts[t].at(p)) / static_cast<double>(all) : std::nan("");
        map.shade.push_back(share);
        map.titles.push_back(fmt::format(texts::taken_for, names[t], names[p], counts[t].at(p), all, 100 * share));
        map.texts.push_back(names.size() <= 16 && share >= 0.005 ? fmt::format("{:.0f}", 100 * share) : "");
      }
    }
    std::string const set = one.value("set", "");
    maps.push_back(figure(set == "full" ? texts::head_on_all : fmt::format(texts::head_on_set, set), svg_of(map)));
  }
  if (maps.empty()) return "";
  return section(texts::confusion.title, texts::confusion.caption, figures(maps, 380));
}

}  // namespace retort
