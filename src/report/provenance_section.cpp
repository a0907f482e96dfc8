#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "retort/report/html.hpp"
#include "retort/report/meanings.hpp"
#include "retort/report/plot.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"

namespace retort {
std::string rows_section(FinishedRun const& run) {
  if (!run.results.contains("rows")) return "";
  std::string html, others;
  for (auto const& [key, rows] : run.results.items()) {
    if (!rows.is_array() || rows.empty() || !rows[0].is_object() || !rows[0].contains("accuracy_mean")) continue;
    Table table{{"variant", "matching", "cells per class", "draws", "accuracy (%)", "sd", "sd of draws", "macro F1 (%)",
                 "headroom (%)", "held out (%)", "seconds"},
                {},
                2};
    for (auto const& row : rows) {
      auto const number = [&](char const* name, double times = 1) {
        if (!row.contains(name) || !row[name].is_number()) return std::string("–");
        auto const text = fmt::format("{:.2f}", times * row[name].get<double>());
        return text == "-0.00" ? "0.00" : text;
      };
      auto const spc = row.value("spc", std::int64_t{0});
      bool const is_product = run.product && key == "rows" && row.value("variant", "") == run.product->variant &&
                              row.value("matching", "") == run.product->matching && spc == run.product->spc;
      auto const matching = row.value("matching", "");
      table.rows.push_back({fmt::format("{}{}", is_product ? "*" : "", row.value("variant", "")),
                            matching.empty() ? "–" : matching, spc ? std::to_string(spc) : "all",
                            std::to_string(row.value("draws", std::int64_t{1})), number("accuracy_mean"),
                            number("accuracy_sd"), number("accuracy_sd_draws"), number("macro_f1"),
                            number("headroom", 100), number("held_out_accuracy"), number("seconds")});
    }
    if (key == "rows")
      html = html_of(table);
    else
      others += folded(fmt::format(texts::rows_of_another, key), html_of(table));
  }
  return section(texts::rows.title, texts::rows.caption, html + others);
}

std::string names_section(FinishedRun const& run) {
  std::set<std::string> used, matched;
  for (auto const& [key, rows] : run.results.items())
    for (auto const& row : rows.is_array() ? rows : nlohmann::json::array())
      if (row.is_object()) used.insert(row.value("variant", "")), matched.insert(row.value("matching", ""));
  for (auto const& one : run.scored) {
    auto const name = parse_distilled_name(one.set + ".h5ad");
    if (name) used.insert(name->variant), matched.insert(name->matching);
  }
  std::string list;
  for (auto const& [name, meaning] : meanings::variants)
    if (used.contains(name)) list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(meaning));
  for (auto const& [name, meaning] : meanings::matchings)
    if (matched.contains(name)) list += fmt::format("<dt>matching {}</dt><dd>{}</dd>\n", escape(name), escape(meaning));
  return list.empty() ? "" : section(texts::names.title, texts::names.caption, "<dl>" + list + "</dl>");
}

std::string provenance_section(FinishedRun const& run) {
  if (run.stages.empty()) return "";
  Table table{{"program", "ranks", "seconds", "finished"}, {}, 1};
  std::string settings, commands;
  for (auto const& stage : run.stages) {
    table.rows.push_back({"retort-" + stage.verb, std::to_string(stage.ranks), fmt::format("{:.1f}", stage.seconds),
                          stage.is_done ? "yes" : "no"});
    settings += folded(fmt::format(texts::settings_of_stage, stage.verb),
                       fmt::format("<pre>{}\n{}</pre>", escape(stage.options), escape(stage.build)));
    commands += fmt::format("mpirun -n {} retort-{} --config {}\n", stage.ranks, stage.verb,
                            (stage.folder / "options.ini").string());
  }
  std::istringstream build(run.stages.back().build);
  std::vector<std::string> made_by;
  for (std::string line; std::getline(build, line);)
    if (!line.empty() && !line.starts_with("ranks") && !line.starts_with("threads")) made_by.push_back(line);
  return section(
      texts::provenance.title, fmt::format(texts::provenance.caption, fmt::join(made_by, ", ")),
      html_of(table) + fmt::format("<p>{}</p>\n<pre>{}</pre>", escape(texts::same_again), escape(commands)) + settings);
}

}  // namespace retort
