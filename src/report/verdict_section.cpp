#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "retort/report/html.hpp"
#include "retort/report/product_classes.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

using nlohmann::json;

constexpr std::size_t most_named = 6;  // classes in a sentence

std::string joined(std::vector<std::string> names) {
  auto const more = std::ssize(names) - static_cast<std::ptrdiff_t>(most_named);
  if (more > 0) names.resize(most_named);
  auto const list = fmt::format("{}", fmt::join(names, ", "));
  return more > 0 ? fmt::format(texts::and_more, list, more) : list;
}

std::string accuracy_item(FinishedRun const& run, json const& product) {
  auto const& data = run.results["data"];
  auto const& rows = run.results["rows"];
  auto const spc = run.product->spc;
  auto const accuracy_of = [](json const& row) { return row.value("accuracy_mean", 0.0); };
  double const own = accuracy_of(product);
  std::vector<std::string> said{fmt::format(texts::accuracy_of_product,
                                            with_commas(spc * data.value("classes", std::int64_t{0})), own,
                                            with_commas(data.value("test_cells", std::int64_t{0})))};
  bool is_good = true;
  if (auto const full = row_named(rows, "full", "", 0); !full.is_null()) {
    said.push_back(fmt::format(texts::accuracy_of_all, accuracy_of(full)));
    is_good = own >= accuracy_of(full) - points_that_matter;
  }
  if (auto const random = row_named(rows, "random", "", spc); !random.is_null()) {
    said.push_back(fmt::format(texts::accuracy_of_random, accuracy_of(random)));
    is_good = is_good && own > accuracy_of(random);
  }
  if (auto const means = row_named(rows, spc > 1 ? "kmeans_mean" : "class_mean", "", spc);
      !means.is_null() && accuracy_of(means) >= own) {
    said.push_back(fmt::format(texts::means_do_as_well, accuracy_of(means)));
    is_good = false;
  }
  return verdict_item(is_good, texts::about_accuracy, paragraph(said));
}

std::string genes_item(FinishedRun const& run, double all_genes) {
  if (!run.results.contains("celltypist")) return "";
  auto const own = row_named(run.results["celltypist"], run.product->variant, run.product->matching, run.product->spc);
  if (own.is_null() || !std::isfinite(all_genes)) return "";
  double const accuracy = own.value("accuracy_mean", 0.0);
  bool const is_good = accuracy >= all_genes - points_that_matter;
  std::vector<std::string> said{fmt::format(texts::gene_classifiers, accuracy, all_genes)};
  if (!is_good) said.emplace_back(texts::set_for_gene_classifiers);
  return verdict_item(is_good, texts::about_gene_classifiers, paragraph(said));
}

std::string classes_item(std::vector<ProductClass> const& classes) {
  std::vector<std::string> lost, hard;
  bool has_recall = false;
  for (auto const& one : classes) {
    has_recall = has_recall || std::isfinite(one.lost());
    if (one.lost() > points_that_matter)
      lost.push_back(one.test_cells < 0 ? fmt::format(texts::class_that_loses, one.name, one.recall, one.recall_of_all)
                                        : fmt::format(texts::class_that_loses_of, one.name, one.recall,
                                                      one.recall_of_all, with_commas(one.test_cells)));
    else if (one.recall_of_all < 50)
      hard.push_back(fmt::format(texts::hard_class, one.name, one.recall_of_all));
  }
  if (!has_recall) return "";
  std::vector<std::string> said{lost.empty() ? fmt::format(texts::no_class_loses, points_that_matter)
                                             : fmt::format(texts::classes_lose, points_that_matter, joined(lost))};
  if (!hard.empty()) said.push_back(fmt::format(texts::hard_classes, joined(hard)));
  return verdict_item(lost.empty() && hard.empty(), texts::about_classes, paragraph(said));
}

// What an attack came to: `first`, the class where `area` is highest, and the classes that leak.
std::vector<std::string> leak_sentences(std::string const& first, double ProductClass::*area,
                                        std::vector<ProductClass> const& classes,
                                        std::vector<std::string> const& leaks) {
  std::vector<std::string> said{first};
  ProductClass const* most = nullptr;
  for (auto const& one : classes)
    if (std::isfinite(one.*area) && (!most || one.*area > most->*area)) most = &one;
  if (most) said.push_back(fmt::format(texts::highest_leak, most->name, most->*area));
  said.push_back(leaks.empty() ? texts::no_leaks : fmt::format(texts::leaks_in, joined(leaks)));
  return said;
}

std::string leak_items(json const& audit, std::vector<ProductClass> const& classes) {
  std::string html;
  auto const names = [&](char const* key) { return audit.value(key, json::array()).get<std::vector<std::string>>(); };
  if (audit.contains("expression_auc")) {
    auto const leaks = names("expression_leaks");
    auto const copies = audit.value("copies", std::int64_t{0});
    auto said = leak_sentences(fmt::format(texts::leaks_of_file, area_of(audit, "expression", " to ")),
                               &ProductClass::expression_area, classes, leaks);
    if (copies) said.push_back(fmt::format(texts::copies, copies));
    html += verdict_item(leaks.empty() && !copies, texts::about_leaks_of_file, paragraph(said));
  }
  if (audit.contains("membership_auc")) {
    auto const leaks = names("leaks");
    auto said = leak_sentences(fmt::format(texts::leaks_with_encoder, area_of(audit, "membership", " to "),
                                           area_of(audit, "confidence", " to ")),
                               &ProductClass::membership_area, classes, leaks);
    if (!leaks.empty()) said.emplace_back(texts::keep_encoder_private);
    html += verdict_item(leaks.empty(), texts::about_leaks_with_encoder, paragraph(said));
  }
  return html;
}

std::string looks_item(json const& audit) {
  auto const zeros = audit.value("zero_proportion", json());
  if (!zeros.is_object() || !zeros.value("distilled", json()).is_number() || !zeros.value("real", json()).is_number())
    return "";
  double const own = zeros["distilled"], real = zeros["real"];
  bool const is_good = std::abs(own - real) < 0.1;
  std::vector<std::string> said{fmt::format(texts::zeros_of_distilled, 100 * own, 100 * real)};
  if (!is_good) said.emplace_back(texts::use_to_train_alone);
  return verdict_item(is_good, texts::about_looks, paragraph(said));
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
  return section(texts::verdict.title, fmt::format(texts::verdict.caption, points_that_matter), verdict_list(items));
}

std::string usage_section(FinishedRun const& run) {
  std::string code;
  if (run.product && run.product->variant != "features") {
    std::string const label =
        run.results.contains("data") ? run.results["data"].value("label", "") : run.ingested.value("label", "");
    auto const genes = run.results.contains("celltypist") ? row_named(run.results["celltypist"], run.product->variant,
                                                                      run.product->matching, run.product->spc)
                                                          : nullptr;
    auto const classifier = genes.is_null()
                                ? texts::classifier_of_genes
                                : fmt::format(texts::measured_classifier_of_genes, genes.value("accuracy_mean", 0.0));
    code += fmt::format(texts::use_distilled, json((run.folder / "distilled.h5ad").string()).dump(), json(label).dump(),
                        classifier);
  }
  std::string generated;
  for (auto const& [set, file, comparison] : generated_sets(run.generation)) {
    auto const& comparisons = run.generation.value("comparisons", json::array());
    bool const are_counts = comparison < comparisons.size() && comparisons[comparison].value("values", "") == "counts";
    auto const name = json(file.string()).dump();
    generated += are_counts ? fmt::format(texts::use_generated_counts, name)
                            : fmt::format(texts::use_generated_expression, name);
  }
  if (!generated.empty()) code += (code.empty() ? texts::use_generated_alone : texts::use_generated_too) + generated;
  return code.empty() ? "" : section(texts::usage.title, texts::usage.caption, "<pre>" + escape(code) + "</pre>");
}

}  // namespace retort
