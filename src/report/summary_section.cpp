#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "retort/report/generation_texts.hpp"
#include "retort/report/html.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

std::string percent(nlohmann::json const& row) { return fmt::format("{:.2f} %", row.value("accuracy_mean", 0.0)); }

std::string tile(std::string const& number, std::string const& text, bool is_first = false) {
  return fmt::format("<div class=\"tile{}\"><b>{}</b>{}</div>\n", is_first ? " first" : "", escape(number),
                     escape(text));
}

std::string tiles(std::string const& each, std::string const& caption) {
  return fmt::format("<div class=\"tiles\">\n{}</div>\n<p class=\"caption\">{}</p>\n", each, escape(caption));
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
  std::string html = tile(w2_of(best, "generated"),
                          fmt::format(texts::tile_of_generated, best.at("generated").value("set", "")), true);
  if (best.contains("floor")) html += tile(w2_of(best, "floor"), texts::tile_of_floor);
  if (best.contains("prior")) html += tile(w2_of(best, "prior"), texts::tile_of_prior);
  return tiles(html, texts::about_generation_tiles);
}

// The sets that stand for the mean of real cells: of a class, or of its clusters.
nlohmann::json means_row(nlohmann::json const& rows, std::int64_t spc) {
  auto const row = row_named(rows, "kmeans_mean", "", spc);
  return row.is_null() ? row_named(rows, "class_mean", "", 1) : row;
}

// The product's accuracy beside all cells, random cells and means.
std::string accuracy_tiles(FinishedRun const& run) {
  auto const& data = run.results["data"];
  auto const& rows = run.results["rows"];
  std::int64_t const spc = run.product ? run.product->spc : 1;
  std::string html;
  if (run.product)
    if (auto const own = row_named(rows, run.product->variant, run.product->matching, spc); !own.is_null())
      html += tile(percent(own),
                   fmt::format(texts::tile_of_product, with_commas(spc * data.value("classes", std::int64_t{0})), spc,
                               run.product->variant, run.product->matching),
                   true);
  if (auto const full = row_named(rows, "full", "", 0); !full.is_null()) {
    auto const cells = data.value("fit_cells", std::int64_t{0}) + data.value("held_out_cells", std::int64_t{0});
    html += tile(percent(full), fmt::format(texts::tile_of_all, with_commas(cells)));
  }
  if (auto const random = row_named(rows, "random", "", spc); !random.is_null())
    html += tile(percent(random), fmt::format(texts::tile_of_random, spc));
  if (auto const means = means_row(rows, spc); !means.is_null())
    html += tile(percent(means), means.value("variant", "") == "class_mean"
                                     ? texts::tile_of_class_means
                                     : fmt::format(texts::tile_of_cluster_means, spc));
  return html.empty() ? "" : tiles(html, texts::about_tiles);
}

// What the run made of which files, in a sentence.
std::string subject_of(FinishedRun const& run) {
  std::vector<std::string> files;
  if (run.ingested.contains("files"))
    for (auto const& file : run.ingested["files"])
      files.push_back(std::filesystem::path(file.value("file", "")).filename().string());
  if (files.empty()) return "";
  auto const names = fmt::format("{}", fmt::join(files, ", "));
  if (run.generation.is_null()) return fmt::format(texts::distilled_atlas, names);
  if (run.results.is_null()) return fmt::format(texts::atlas_of_new_cells, names);
  return fmt::format(texts::distilled_atlas_of_new_cells, names);
}

}  // namespace

std::string summary_section(FinishedRun const& run) {
  std::string html =
      fmt::format("<h1>{}</h1>\n<p class=\"caption\">{}</p>\n", escape(run.name), escape(subject_of(run)));
  html += generation_tiles(run.generation);
  if (run.results.contains("data")) {
    auto const& data = run.results["data"];
    auto const count = [&](char const* key) { return with_commas(data.value(key, std::int64_t{0})); };
    html +=
        fmt::format("<p>{}</p>\n", escape(fmt::format(texts::data_of_run, count("cells"), count("genes"),
                                                      count("classes"), data.value("label", ""), count("test_cells"))));
    html += accuracy_tiles(run);
  }
  if (!run.missing.empty()) {
    std::string list;
    for (auto const& part : run.missing) list += fmt::format("<li>{}</li>", escape(part));
    html += fmt::format("<p>{}</p><ul>{}</ul>\n", escape(texts::missing_parts), list);
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
  std::vector<std::string> captions{texts::runs.caption};
  if (makes_cells) captions.emplace_back(texts::about_w2_of_runs);
  return section(texts::runs.title, paragraph(captions), html_of(table));
}

}  // namespace retort
