#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "retort/report/html.hpp"
#include "retort/report/product_classes.hpp"
#include "retort/report/sections.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

using nlohmann::json;

constexpr std::size_t most_named = 6;  // classes in a sentence

std::string joined(std::vector<std::string> texts) {
  auto const more = std::ssize(texts) - static_cast<std::ptrdiff_t>(most_named);
  if (more > 0) texts.resize(most_named);
  return fmt::format("{}{}", fmt::join(texts, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
}

std::string accuracy_item(FinishedRun const& run, json const& product) {
  auto const& data = run.results["data"];
  auto const& rows = run.results["rows"];
  auto const spc = run.product->spc;
  double const own = product.value("accuracy_mean", 0.0);
  std::string text = fmt::format(
      "A linear classifier on the encoder's features that learned from these {} cells labels {:.2f} % of {} unseen "
      "real cells rightly",
      with_commas(spc * data.value("classes", std::int64_t{0})), own,
      with_commas(data.value("test_cells", std::int64_t{0})));
  bool is_good = true;
  if (auto const full = row_named(rows, "full", "", 0); !full.is_null()) {
    double const all = full.value("accuracy_mean", 0.0);
    text += fmt::format("; one that learned from all train cells, {:.2f} %", all);
    is_good = own >= all - points_that_matter;
  }
  if (auto const random = row_named(rows, "random", "", spc); !random.is_null()) {
    double const drawn = random.value("accuracy_mean", 0.0);
    text += fmt::format("; from as many random real cells, {:.2f} %", drawn);
    is_good = is_good && own > drawn;
  }
  text += ".";
  if (auto const means = row_named(rows, spc > 1 ? "kmeans_mean" : "class_mean", "", spc);
      !means.is_null() && means.value("accuracy_mean", 0.0) >= own) {
    text += fmt::format(" Means of real cells, which cost nothing, do as well ({:.2f} %).",
                        means.value("accuracy_mean", 0.0));
    is_good = false;
  }
  return verdict_item(is_good, "Accuracy.", text);
}

std::string genes_item(FinishedRun const& run, double all_genes) {
  if (!run.results.contains("celltypist")) return "";
  auto const own = row_named(run.results["celltypist"], run.product->variant, run.product->matching, run.product->spc);
  if (own.is_null() || !std::isfinite(all_genes)) return "";
  double const accuracy = own.value("accuracy_mean", 0.0);
  bool const is_good = accuracy >= all_genes - points_that_matter;
  return verdict_item(is_good, "Classifiers of genes.",
                      fmt::format("CellTypist's classifier, trained on the set's expression, reaches {:.2f} %; "
                                  "logistic regression on all train cells {:.2f} %.{}",
                                  accuracy, all_genes,
                                  is_good ? ""
                                          : " For use with classifiers of genes ask for a set that is made for them: "
                                            "distill.matchings=head+genes."));
}

std::string classes_item(std::vector<ProductClass> const& classes) {
  std::vector<std::string> lost, hard;
  bool has_recall = false;
  for (auto const& one : classes) {
    has_recall = has_recall || std::isfinite(one.lost());
    if (one.lost() > points_that_matter)
      lost.push_back(
          fmt::format("{} ({:.0f} % instead of {:.0f} %{})", one.name, one.recall, one.recall_of_all,
                      one.test_cells < 0 ? "" : fmt::format(" of {} test cells", with_commas(one.test_cells))));
    else if (one.recall_of_all < 50)
      hard.push_back(fmt::format("{} ({:.0f} %)", one.name, one.recall_of_all));
  }
  if (!has_recall) return "";
  std::string text =
      lost.empty()
          ? fmt::format("No class loses more than {:.0f} points of recall against all train cells.", points_that_matter)
          : fmt::format("Recall falls by more than {:.0f} points against all train cells in {}.", points_that_matter,
                        joined(lost));
  if (!hard.empty()) text += fmt::format(" Found badly with all train cells too: {}.", joined(hard));
  return verdict_item(lost.empty() && hard.empty(), "Classes.", text);
}

std::string leak_items(json const& audit, std::vector<ProductClass> const& classes) {
  std::string html;
  auto const highest = [&](double ProductClass::*area) {
    ProductClass const* most = nullptr;
    for (auto const& one : classes)
      if (std::isfinite(one.*area) && (!most || one.*area > most->*area)) most = &one;
    return most ? fmt::format(", highest in {} ({:.2f})", most->name, most->*area) : std::string();
  };
  auto const names = [&](char const* key) { return audit.value(key, json::array()).get<std::vector<std::string>>(); };
  auto const verdict = [&](std::vector<std::string> const& leaks) {
    return leaks.empty() ? std::string("no class leaks") : "it leaks in " + joined(leaks);
  };
  if (audit.contains("expression_auc")) {
    auto const leaks = names("expression_leaks");
    auto const copies = audit.value("copies", std::int64_t{0});
    html += verdict_item(
        leaks.empty() && !copies, "Does the file give cells away?",
        fmt::format("Membership inference from its cells alone: AUC {}{}; {}{}.", area_of(audit, "expression", " to "),
                    highest(&ProductClass::expression_area), verdict(leaks),
                    copies ? fmt::format(", but {} of its cells are copies of real ones", copies) : ""));
  }
  if (audit.contains("membership_auc")) {
    auto const leaks = names("leaks");
    html += verdict_item(
        leaks.empty(), "And with foundation/?",
        fmt::format(
            "Together with the encoder: AUC {} by distance of features, {} by a classifier's confidence{}; {}.{}",
            area_of(audit, "membership", " to "), area_of(audit, "confidence", " to "),
            highest(&ProductClass::membership_area), verdict(leaks),
            leaks.empty() ? "" : " Keep foundation/ private where it matters who was in the atlas."));
  }
  return html;
}

std::string looks_item(json const& audit) {
  auto const zeros = audit.value("zero_proportion", json());
  if (!zeros.is_object() || !zeros.value("distilled", json()).is_number() || !zeros.value("real", json()).is_number())
    return "";
  double const own = zeros["distilled"], real = zeros["real"];
  bool const is_good = std::abs(own - real) < 0.1;
  return verdict_item(
      is_good, "Do they look like cells?",
      fmt::format("{:.0f} % of their values are zero, {:.0f} % of real cells'.{}", 100 * own, 100 * real,
                  is_good ? "" : " Train classifiers with them; do not test genes or model counts on them."));
}

}  // namespace

std::string verdict_section(FinishedRun const& run) {
  if (!run.product || !run.results.contains("rows")) return "";
  auto const product = row_named(run.results["rows"], run.product->variant, run.product->matching, run.product->spc);
  if (product.is_null()) return "";
  auto const classes = product_classes(run);
  auto const audit = audit_of_product(run);
  auto const genes = row_named(run.results["rows"], "genes", "", 0);
  std::string items = accuracy_item(run, product) +
                      genes_item(run, genes.is_null() ? std::nan("") : genes.value("accuracy_mean", 0.0)) +
                      classes_item(classes);
  if (audit.is_object()) items += leak_items(audit, classes) + looks_item(audit);
  return section("Is distilled.h5ad good enough?",
                 fmt::format("What this page says of the product, in short. A tick: within {:.0f} points of all train "
                             "cells and better than random cells and means; no class with a membership AUC surely "
                             "above 0.6 (0.5 is a guess, 1 is certainty; in brackets the 95 % interval); zeros "
                             "within 10 points of real cells'. An exclamation mark: look closer.",
                             points_that_matter),
                 verdict_list(items));
}

std::string usage_section(FinishedRun const& run) {
  std::string code;
  if (run.product && run.product->variant != "features") {
    std::string const label =
        run.results.contains("data") ? run.results["data"].value("label", "") : run.ingested.value("label", "");
    auto const genes = run.results.contains("celltypist") ? row_named(run.results["celltypist"], run.product->variant,
                                                                      run.product->matching, run.product->spc)
                                                          : nullptr;
    std::string const measured =
        genes.is_null() ? ""
                        : fmt::format(" (on this run's test cells {:.1f} % right)", genes.value("accuracy_mean", 0.0));
    code += fmt::format(
        "import scanpy as sc, celltypist\n\ncells = sc.read_h5ad({0})\ncells.X  # log1p of counts scaled to 10,000 a "
        "cell, float32: do not normalise again\ncells.obs[{1}]  # their classes\n\n"
        "# a classifier of genes{2}\nmodel = celltypist.train(cells, labels={1}, "
        "use_SGD=True)\nsc.pp.normalize_total(yours, target_sum=1e4)  # cells to be labelled, from raw "
        "counts\nsc.pp.log1p(yours)\ncelltypist.annotate(yours, model=model)\n",
        json((run.folder / "distilled.h5ad").string()).dump(), json(label).dump(), measured);
  }
  std::string generated;
  for (auto const& [set, file, comparison] : generated_sets(run.generation)) {
    auto const& comparisons = run.generation.value("comparisons", json::array());
    bool const are_counts = comparison < comparisons.size() && comparisons[comparison].value("values", "") == "counts";
    generated +=
        fmt::format("new = sc.read_h5ad({})  # X: {}\n", json(file.string()).dump(),
                    are_counts ? "whole counts, normalise as usual" : "log-normalised, do not normalise again");
  }
  if (!generated.empty()) code += (code.empty() ? "import scanpy as sc\n\n" : "\n# new cells\n") + generated;
  return code.empty()
             ? ""
             : section("How to use it", "In Python; the files are plain h5ad.", "<pre>" + escape(code) + "</pre>");
}

}  // namespace retort
