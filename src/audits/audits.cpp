#include "retort/audits/audits.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "retort/audits/membership.hpp"
#include "retort/audits/paired_tests.hpp"
#include "retort/audits/set_expression.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::size_t rare = 10;   // train cells
constexpr std::size_t rarest = 3;  // classes

std::string name_of(std::string const& variant, std::string const& matching, std::int64_t spc) {
  return variant + (matching.empty() ? "" : "-" + matching) + (spc ? fmt::format("-spc{}", spc) : "");
}

Expression real_expression(Session const& session, EvaluationData const& data) {
  std::vector<std::int64_t> rows;
  std::vector<std::int32_t> labels;
  for (std::int64_t row = 0; row < data.atlas->cells(); ++row) {
    if (data.atlas->parts()[index(row)] == Part::test) continue;
    rows.push_back(row);
    labels.push_back(data.labels.codes[index(row)]);
  }
  return expression_of(
      session.ranks, [&](std::span<std::int64_t const> chosen) { return data.reader->read(chosen); }, rows,
      std::move(labels), data.labels.classes(), data.foundation->shape().genes);
}

nlohmann::json audit_set(EvaluationData const& data, SampledCells const& sampled, Expression const& real,
                         JudgedSet const& judged, HeadOptions const& head, std::uint64_t seed) {
  auto const& names = data.labels.names;
  auto const& draw = judged.draws.front();
  nlohmann::json entry{{"set", name_of(judged.variant, judged.matching, judged.spc)},
                       {"variant", judged.variant},
                       {"matching", judged.matching},
                       {"spc", judged.spc}};
  auto const made = draw.make();
  entry.update(audit_membership(data, sampled, draw.set, made, head, seed));
  if (made.features.defined()) return entry;  // its cells are not what was distilled
  auto const distilled = expression_of(made, data.labels.classes());
  entry.update(audit_sparsity(real, distilled, made, names));
  entry["differential_expression"] = audit_marker_genes(real.genes, distilled.genes, names);
  return entry;
}

std::string figure(nlohmann::json const& value, int digits) {
  return value.is_number() ? fmt::format("{:.{}f}", value.get<double>(), digits) : "-";
}

std::string interval(nlohmann::json const& value) {
  return value.is_array() ? fmt::format("[{}, {}]", figure(value[0], 2), figure(value[1], 2)) : "-";
}

}  // namespace

nlohmann::json audit(Session const& session, EvaluationData const& data, std::vector<JudgedSet> const& sets,
                     HeadOptions const& head, std::vector<ResultRow> const& rows,
                     std::vector<JudgedRows> const& others) {
  auto const& ranks = session.ranks;
  auto const real = real_expression(session, data);
  auto own = nlohmann::json::array();
  ranks.together([&] {
    auto const sampled = sample_cells(data);
    for (std::size_t i = index(ranks.rank()); i < sets.size(); i += index(ranks.size()))
      own.push_back(audit_set(data, sampled, real, sets[i], head, static_cast<std::uint64_t>(session.run.seed)));
  });
  auto const texts = ranks.gather(json_text(own));
  if (!ranks.is_root()) return nullptr;
  std::vector<nlohmann::json> of_ranks;
  for (auto const& text : texts) of_ranks.push_back(nlohmann::json::parse(text));
  auto audited = nlohmann::json::array();
  for (std::size_t i = 0; i < sets.size(); ++i) audited.push_back(of_ranks[i % texts.size()][i / texts.size()]);
  auto pairs = paired_tests(rows, "head");
  for (auto const& other : others)
    for (auto const& test : paired_tests(other.rows, other.key)) pairs.push_back(test);
  auto const members = data.fit_cells;
  return {{"sets", audited},
          {"members", members},
          {"non_members", data.atlas->cells() - members},
          {"smallest_real_value", real.smallest},
          {"rare_classes", rare_class_recall(rows, data.train, data.labels.names)},
          {"paired_tests", pairs}};
}

nlohmann::json rare_class_recall(std::vector<ResultRow> const& rows, RowsByClass const& train,
                                 std::vector<std::string> const& names) {
  if (rows.empty()) return nullptr;
  std::vector<std::size_t> order, chosen;
  for (std::size_t c = 0; c < train.size(); ++c)
    if (!train[c].empty()) order.push_back(c);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return train[a].size() < train[b].size(); });
  std::size_t tested = 0;
  for (auto const c : order) {
    bool const is_tested = !std::isnan(rows.front().recall[c]);
    if (train[c].size() <= rare || (is_tested && tested < rarest)) chosen.push_back(c);
    tested += is_tested;
  }
  nlohmann::json result{{"train_cells", nlohmann::json::object()}, {"rows", nlohmann::json::array()}};
  for (auto const c : chosen) result["train_cells"][names[c]] = train[c].size();
  for (auto const& row : rows) {
    auto recall = nlohmann::json::object();
    for (auto const c : chosen)
      recall[names[c]] = std::isnan(row.recall[c]) ? nlohmann::json(nullptr) : nlohmann::json(row.recall[c]);
    result["rows"].push_back({{"set", name_of(row.variant, row.matching, row.spc)}, {"recall", recall}});
  }
  return result;
}

std::string table_of_audits(nlohmann::json const& audits) {
  auto text = fmt::format("{:<24} {:>20}  {:>10}  {:>10}  {:>13}  {:>13}  {:>9}  {:>12}\n", "set", "membership AUC",
                          "confidence", "expression", "zeros (real)", "genes inside", "top 50", "fold change");
  std::string by_cells;
  std::set<std::string> by_encoder;  // classes, of any distilled set
  for (auto const& set : audits.at("sets")) {
    auto const at = [&](char const* audit, char const* key) {
      return set.contains(audit) && set[audit].is_object() ? set[audit][key] : nlohmann::json();
    };
    text += fmt::format(
        "{:<24} {:>20}  {:>10}  {:>10}  {:>13}  {:>13}  {:>9}  {:>12}\n", set["set"].get<std::string>(),
        figure(set["membership_auc"], 2) + " " + interval(set["membership_interval"]), figure(set["confidence_auc"], 2),
        figure(set.value("expression_auc", nlohmann::json()), 2),
        fmt::format("{} ({})", figure(at("zero_proportion", "distilled"), 2), figure(at("zero_proportion", "real"), 2)),
        figure(at("detected_genes", "inside"), 2), figure(at("differential_expression", "precision_at_50"), 2),
        figure(at("differential_expression", "fold_spearman"), 2));
    if (set["matching"] == "") continue;
    for (auto const& name : set["leaks"]) by_encoder.insert(name.get<std::string>());
    if (set.contains("expression_leaks") && !set["expression_leaks"].empty())
      by_cells += fmt::format("{} leaks membership by its cells alone in {}\n", set["set"].get<std::string>(),
                              json_text(set["expression_leaks"]));
  }
  if (!by_encoder.empty())
    text += fmt::format(
        "with the encoder at hand, some set tells who was in the atlas, in: {}. Class means do so too where "
        "the encoder remembers its cells; the page has it set by set\n",
        fmt::join(by_encoder, ", "));
  return text + by_cells;
}

}  // namespace retort
