#include "retort/report/product_classes.hpp"

#include <cmath>

namespace retort {
namespace {

using nlohmann::json;

json entry(json const& object, char const* key) { return object.is_object() ? object.value(key, json()) : json(); }

}  // namespace

json audit_of_product(FinishedRun const& run) {
  auto const sets = run.results.is_object() ? entry(entry(run.results, "audits"), "sets") : json();
  if (sets.is_array())
    for (auto const& set : sets)
      if (is_of_product(run, set)) return set;
  return nullptr;
}

std::vector<ProductClass> product_classes(FinishedRun const& run) {
  std::vector<ProductClass> classes;
  if (!run.product || !run.results.contains("rows")) return classes;
  auto const& rows = run.results["rows"];
  auto const recall_of = [&](std::string const& variant, std::string const& matching, std::int64_t spc) {
    return entry(row_named(rows, variant, matching, spc), "recall");
  };
  auto const recall = recall_of(run.product->variant, run.product->matching, run.product->spc),
             of_all = recall_of("full", "", 0), of_random = recall_of("random", "", run.product->spc);
  if (!recall.is_object()) return classes;
  auto const audit = audit_of_product(run);
  auto const distance = entry(audit, "membership_auc_by_class"), confidence = entry(audit, "confidence_auc_by_class"),
             expression = entry(audit, "expression_auc_by_class"),
             markers = entry(entry(audit, "differential_expression"), "by_class");
  auto const confusion = run.results.value("confusion", json::array());
  auto const names = run.results.at("data").value("class_names", std::vector<std::string>{});
  bool const is_ingested =
      run.ingested.is_object() && run.ingested.value("label", "") == run.results.at("data").value("label", "");
  for (std::size_t c = 0; c < names.size(); ++c) {
    auto const& name = names[c];
    ProductClass one{.name = name,
                     .recall_of_all = number_in(of_all, name),
                     .recall_of_random = number_in(of_random, name),
                     .recall = number_in(recall, name),
                     .membership_area = std::fmax(number_in(distance, name), number_in(confidence, name)),
                     .expression_area = number_in(expression, name),
                     .markers = number_in(entry(markers, name.c_str()), "precision_at_50")};
    if (!confusion.empty()) {
      one.test_cells = 0;
      for (auto const& count : confusion.at(0).at("counts").at(c)) one.test_cells += count.get<std::int64_t>();
    }
    if (is_ingested)
      for (auto const& of_class : run.ingested.value("classes", json::array()))
        if (of_class.value("class", "") == name)
          one.train_cells = of_class.value("fit", std::int64_t{0}) + of_class.value("held_out", std::int64_t{0});
    classes.push_back(std::move(one));
  }
  return classes;
}

}  // namespace retort
