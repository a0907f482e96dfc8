#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "retort/report/bars.hpp"
#include "retort/report/heat_map.hpp"
#include "retort/report/html.hpp"
#include "retort/report/palette.hpp"
#include "retort/report/plot.hpp"
#include "retort/report/sections.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

std::string percent(nlohmann::json const& row) { return fmt::format("{:.2f} %", row.value("accuracy_mean", 0.0)); }

std::string tile(std::string const& number, std::string const& text, bool is_first = false) {
  return fmt::format("<div class=\"tile{}\"><b>{}</b>{}</div>\n", is_first ? " first" : "", escape(number),
                     escape(text));
}

// Of the first comparison, the row with the least W2 of each kind: floor, prior, generated.
std::map<std::string, nlohmann::json> least_w2(nlohmann::json const& generation) {
  std::map<std::string, nlohmann::json> best;
  if (!generation.is_object() || !generation.contains("rows")) return best;
  for (auto const& row : generation["rows"]) {
    if (row.value("comparison", 0) != 0 || !row.contains("w2") || !row["w2"].is_number()) continue;
    auto& one = best[row.value("kind", "")];
    if (one.is_null() || row["w2"] < one["w2"]) one = row;
  }
  return best;
}

std::string w2_of(std::map<std::string, nlohmann::json> const& best, std::string const& kind) {
  return best.contains(kind) ? fmt::format("{:.4g}", best.at(kind)["w2"].get<double>()) : "–";
}

// The best generated set between the floor and the best prior.
std::string generation_tiles(nlohmann::json const& generation) {
  auto const best = least_w2(generation);
  if (!best.contains("generated")) return "";
  std::string html =
      "<div class=\"tiles\">\n" +
      tile(w2_of(best, "generated"),
           fmt::format("W2 of generated cells to real test cells: {}", best.at("generated").value("set", "")), true);
  if (best.contains("floor")) html += tile(w2_of(best, "floor"), "W2 of as many real train cells: the floor");
  if (best.contains("prior"))
    html += tile(w2_of(best, "prior"), "W2 of a Gaussian fitted to each class: what must be beaten");
  return html +
         "</div>\n<p class=\"caption\">Wasserstein distances, means over classes; good is a number near the floor and "
         "well below the Gaussian's.</p>\n";
}

// The sets that stand for the mean of real cells: of a class, or of its clusters.
nlohmann::json means_row(nlohmann::json const& rows, std::int64_t spc) {
  auto const row = row_named(rows, "kmeans_mean", "", spc);
  return row.is_null() ? row_named(rows, "class_mean", "", 1) : row;
}

// Baselines of one kind have one name at one cell a class and another above; they are one line.
std::string series_of(nlohmann::json const& row) {
  std::string const variant = row.value("variant", ""), matching = row.value("matching", "");
  if (variant == "medoid" || variant == "kmeans") return "central real cells (medoid, kmeans)";
  if (variant == "class_mean" || variant == "kmeans_mean") return "means of real cells (class_mean, kmeans_mean)";
  if (variant == "random" && matching.empty()) return "random real cells";
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
  if (key == "rows") return "Linear head on frozen features";
  if (key == "celltypist") return "CellTypist's classifier on genes";
  if (key == "logistic") return "Logistic regression on genes";
  if (key == "cnn") return "Convolutional network on genes";
  if (key == "tosica") return "TOSICA, a transformer on genes";
  return key;
}

}  // namespace

std::string summary_section(FinishedRun const& run) {
  auto const& data = run.results.contains("data") ? run.results["data"] : nlohmann::json(nullptr);
  std::vector<std::string> files;
  if (run.ingested.contains("files"))
    for (auto const& file : run.ingested["files"])
      files.push_back(std::filesystem::path(file.value("file", "")).filename().string());
  char const* const done = run.generation.is_null() ? "distilled"
                           : run.results.is_null()  ? "and new cells made after it"
                                                    : "distilled, and new cells made after it,";
  std::string html = fmt::format(
      "<h1>{}</h1>\n<p class=\"caption\">{}</p>\n", escape(run.name),
      escape(files.empty() ? "" : fmt::format("An atlas of {}, {} by retort.", fmt::join(files, ", "), done)));
  html += generation_tiles(run.generation);
  auto const count = [&](char const* key) { return with_commas(data.value(key, std::int64_t{0})); };
  if (!data.is_null()) {
    auto const& rows = run.results["rows"];
    std::string const held = run.product
                                 ? fmt::format("{} synthetic cells, {} a class ({}-{})",
                                               with_commas(run.product->spc * data.value("classes", std::int64_t{0})),
                                               run.product->spc, run.product->variant, run.product->matching)
                                 : "";
    auto const best =
        run.product ? row_named(rows, run.product->variant, run.product->matching, run.product->spc) : nullptr;
    std::int64_t const spc = run.product ? run.product->spc : 1;
    html += fmt::format(
        "<p>{} cells, {} genes, {} classes in the column <b>{}</b>. Classifiers were trained on each set and tried on "
        "{} test cells that nothing else has seen.</p>\n",
        count("cells"), count("genes"), count("classes"), escape(data.value("label", "")), count("test_cells"));
    std::string tiles;
    if (!best.is_null()) tiles += tile(percent(best), "the product distilled.h5ad: " + held, true);
    if (auto const full = row_named(rows, "full", "", 0); !full.is_null())
      tiles += tile(percent(full),
                    fmt::format("all {} train cells", with_commas(data.value("fit_cells", std::int64_t{0}) +
                                                                  data.value("held_out_cells", std::int64_t{0}))));
    if (auto const random = row_named(rows, "random", "", spc); !random.is_null())
      tiles += tile(percent(random), fmt::format("random real cells, {} a class", spc));
    if (auto const means = means_row(rows, spc); !means.is_null())
      tiles += tile(percent(means), means.value("variant", "") == "class_mean"
                                        ? std::string("class means, 1 a class")
                                        : fmt::format("means of clusters, {} a class", spc));
    if (!tiles.empty())
      html += fmt::format(
          "<div class=\"tiles\">\n{}</div>\n<p class=\"caption\">Accuracy on the test cells of a linear classifier on "
          "the features of the run's encoder (a linear head). The product is the kind of set that did best on held-out "
          "train cells, so another may do better here. Good is a product near all train cells and clearly above random "
          "cells and means, which cost nothing.</p>\n",
          tiles);
  }
  if (!run.missing.empty()) {
    std::string list;
    for (auto const& part : run.missing) list += fmt::format("<li>{}</li>", escape(part));
    html += fmt::format("<p>Not on this page, because the run folder does not have it:</p><ul>{}</ul>\n", list);
  }
  return html;
}

std::string runs_section(std::vector<FinishedRun> const& runs) {
  Table table{{"run", "product", "classes", "cells", "product (%)", "all cells (%)", "random (%)", "means (%)"}, {}, 2};
  bool const makes_cells =
      std::any_of(runs.begin(), runs.end(), [](auto const& run) { return !run.generation.is_null(); });
  if (makes_cells) table.header.insert(table.header.end(), {"generated, W2", "floor, W2"});
  for (auto const& run : runs) {
    nlohmann::json const rows = run.results.contains("rows") ? run.results["rows"] : nlohmann::json(nullptr),
                         data = run.results.contains("data") ? run.results["data"] : nlohmann::json::object();
    auto const accuracy = [](nlohmann::json const& row) {
      return row.is_null() ? std::string("–") : fmt::format("{:.2f}", row.value("accuracy_mean", 0.0));
    };
    std::int64_t const spc = run.product ? run.product->spc : 1;
    table.rows.push_back(
        {run.name, run.product ? set_stem(*run.product) : "–", with_commas(data.value("classes", std::int64_t{0})),
         with_commas(data.value("cells", std::int64_t{0})),
         run.product ? accuracy(row_named(rows, run.product->variant, run.product->matching, spc)) : "–",
         accuracy(row_named(rows, "full", "", 0)), accuracy(row_named(rows, "random", "", spc)),
         accuracy(means_row(rows, spc))});
    auto const best = least_w2(run.generation);
    if (makes_cells)
      table.rows.back().insert(table.rows.back().end(), {w2_of(best, "generated"), w2_of(best, "floor")});
  }
  return section(
      "Runs on this page",
      fmt::format("Accuracy of a linear head on real test cells, one line a run; good is a product near all cells and "
                  "above random cells and means.{}",
                  makes_cells
                      ? " W2 is the distance of the best generated set from real test cells; good is near the floor."
                      : ""),
      html_of(table));
}

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
    LinePlot plot{.x_label = "synthetic cells a class", .y_label = "accuracy (%)", .x_scale = Scale::log};
    std::set<double> spc;
    for (std::size_t s = 0; s < series.size(); ++s) {
      PlotLine line{.colour = colour(s)};
      for (auto const& row : run.results[key]) {
        if (row.value("spc", 0) == 0 || series_of(row) != series[s]) continue;
        double const x = row.value("spc", 0.0), accuracy = row.value("accuracy_mean", 0.0), spread = spread_of(row);
        line.is_dashed = is_baseline(row);
        line.points.push_back({x, accuracy, spread,
                               fmt::format("{} {}, {} a class: {:.2f} ± {:.2f} %", row.value("variant", ""),
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
          {full.value("accuracy_mean", 0.0), fmt::format("all cells {:.1f}", full.value("accuracy_mean", 0.0))});
    if (auto const genes = row_named(run.results["rows"], "genes", "", 0); !genes.is_null())
      plot.levels.push_back(
          {genes.value("accuracy_mean", 0.0), fmt::format("genes of all {:.1f}", genes.value("accuracy_mean", 0.0))});
    auto const svg = spc.size() == 1 ? dots_of(plot, series) : svg_of(plot);
    has_lines = has_lines || spc.size() > 1;
    if (!svg.empty()) plots.push_back(figure(judge_title(key), svg));
  }
  if (plots.empty()) return "";
  for (std::size_t s = 0; s < series.size(); ++s) entries.push_back({series[s], colour(s), dashed.contains(series[s])});
  std::string const spread = "standard deviation over draws of a set (over heads where there is one draw)";
  if (!has_lines)
    return section(
        "Accuracy on real test cells",
        fmt::format(
            "Accuracy (%) on real test cells of classifiers trained on each set, one picture a classifier, ± one {}. "
            "Good is a dot near the mark of all train cells and right of the real cells and their means.",
            spread),
        figures(plots, 380));
  return section("Accuracy against size",
                 fmt::format("Accuracy on real test cells of classifiers trained on each set, one plot a classifier; "
                             "bands are ± one {}. Good is a solid line that begins high, near the dashed level of all "
                             "train cells, and above the dashed lines of real "
                             "cells and their means.",
                             spread),
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
        map.titles.push_back(fmt::format("{} taken for {}: {} of {} test cells ({:.1f} %)", names[t], names[p],
                                         counts[t].at(p), all, 100 * share));
        map.texts.push_back(names.size() <= 16 && share >= 0.005 ? fmt::format("{:.0f}", 100 * share) : "");
      }
    }
    std::string const set = one.value("set", "");
    maps.push_back(
        figure(set == "full" ? "A head trained on all train cells" : "A head trained on " + set, svg_of(map)));
  }
  if (maps.empty()) return "";
  return section("Which classes are taken for which",
                 "Real test cells by their true class (rows) and the class that the first head gave them (columns), in "
                 "per cent of the row; hover for counts. Good is a strong diagonal, and off it the same confusions for "
                 "the distilled set as for all "
                 "cells, which then lie in the data.",
                 figures(maps, 380));
}

}  // namespace retort
