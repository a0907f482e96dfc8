#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <sstream>

#include "retort/report/html.hpp"
#include "retort/report/plot.hpp"
#include "retort/report/sections.hpp"

namespace retort {
namespace {

struct Name {
  char const* name;
  char const* meaning;
};

constexpr std::array variants{
    Name{"full", "A linear head on the features of all train cells: what a distilled set tries to reach."},
    Name{"genes", "Logistic regression on all genes of all train cells: what the data give without an encoder."},
    Name{"random", "Real train cells drawn at random, a few a class. What every method must beat."},
    Name{"medoid", "The real cell of each class that lies nearest the mean of its features."},
    Name{"kmeans", "Each class cut into clusters of features; the real cell nearest each cluster's centre."},
    Name{"class_mean", "The mean expression of each class's train cells, as one cell."},
    Name{"kmeans_mean", "The mean expression of each of a class's clusters, as one cell each."},
    Name{"scdd",
         "Synthetic cells that a diffusion denoiser and a decoder make of latents; the latents are optimised (scDD, "
         "arXiv 2503.04357)."},
    Name{"decoder", "As scdd without the denoiser: latents that the decoder turns into cells."},
    Name{"cells", "The expression values themselves are optimised, without a generator."},
    Name{"features", "Features are optimised and used as they are; there are no cells."},
    Name{"features_decoded", "Features are optimised, and the decoder turns them into cells at the end."},
    Name{"generator", "Real cells passed through denoiser and decoder; nothing is optimised."},
};
constexpr std::array matchings{
    Name{"dm",
         "Distribution matching: the mean feature of a class's synthetic cells approaches that of its real cells."},
    Name{"dc",
         "Gradient matching (dataset condensation): synthetic cells pull a classifier in the direction in which real "
         "cells pull it."},
    Name{"dm+dc", "Both of them together."},
    Name{"head",
         "A classifier is trained on the synthetic cells, and they change so that it does well on all real cells of "
         "the part that may be learned from."},
    Name{"genes", "The same for logistic regression on genes."},
    Name{"head+genes", "Both: the set teaches classifiers on features and classifiers on genes."},
    Name{"none", "Nothing is matched: the set stays as it began."},
};

}  // namespace

std::string rows_section(FinishedRun const& run) {
  if (!run.results.contains("rows")) return "";
  std::string html, others;
  for (auto const& [key, rows] : run.results.items()) {
    if (!rows.is_array() || rows.empty() || !rows[0].is_object() || !rows[0].contains("accuracy_mean")) continue;
    Table table{{"variant", "matching", "cells a class", "draws", "accuracy (%)", "sd", "sd of draws", "macro F1 (%)",
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
      others += folded("The same sets under " + key, html_of(table));
  }
  return section("All rows",
                 "Every set and every baseline on real test cells; sd is over all heads, headroom the part of the way "
                 "from random cells to all cells (it means little where these two lie close), seconds those of making "
                 "a set and training on it, bold the kind of the product. Good is a high "
                 "macro F1 too, which counts rare classes as much as common ones.",
                 html + others);
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
  for (auto const& [name, meaning] : variants)
    if (used.contains(name)) list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(meaning));
  for (auto const& [name, meaning] : matchings)
    if (matched.contains(name)) list += fmt::format("<dt>matching {}</dt><dd>{}</dd>\n", escape(name), escape(meaning));
  return list.empty() ? ""
                      : section("What the names mean",
                                "A distilled set is named after what is optimised (its variant) and what is compared "
                                "with real cells (its matching).",
                                "<dl>" + list + "</dl>");
}

std::string provenance_section(FinishedRun const& run) {
  if (run.stages.empty()) return "";
  Table table{{"program", "ranks", "seconds", "finished"}, {}, 1};
  std::string settings, commands;
  for (auto const& stage : run.stages) {
    table.rows.push_back({"retort-" + stage.verb, std::to_string(stage.ranks), fmt::format("{:.1f}", stage.seconds),
                          stage.is_done ? "yes" : "no"});
    settings += folded("retort-" + stage.verb + ": settings and build",
                       fmt::format("<pre>{}\n{}</pre>", escape(stage.options), escape(stage.build)));
    commands += fmt::format("mpirun -n {} retort-{} --config {}\n", stage.ranks, stage.verb,
                            (stage.folder / "options.ini").string());
  }
  std::istringstream build(run.stages.back().build);
  std::vector<std::string> made_by;
  for (std::string line; std::getline(build, line);)
    if (!line.empty() && !line.starts_with("ranks") && !line.starts_with("threads")) made_by.push_back(line);
  return section("How it was made",
                 fmt::format("{}. The programs in their order, with the seconds that their last settings took; good is "
                             "a run of which every part is finished.",
                             fmt::join(made_by, ", ")),
                 html_of(table) +
                     "<p>The same again, to the same numbers on any number of ranks; a stage that is done is skipped, "
                     "and another run.folder makes all of it anew:</p>\n<pre>" +
                     escape(commands) + "</pre>" + settings);
}

}  // namespace retort
