#include "retort/audits/membership.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "retort/audits/auc.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::size_t least_cells = 10;    // of members and of non-members, or the class is not scored
constexpr std::size_t most_sampled = 300;  // the same, where expression is read
constexpr double leak = 0.6;
constexpr double copied = 1e-5;

// Scores of some real cells, by whether the set was made from them.
struct Attack {
  std::vector<double> members, others;
  void add(Part part, double score) { (part == Part::fit ? members : others).push_back(score); }
  void add(Attack const& more) {
    members.insert(members.end(), more.members.begin(), more.members.end());
    others.insert(others.end(), more.others.begin(), more.others.end());
  }
  std::optional<Auc> auc() const {
    if (members.size() < least_cells || others.size() < least_cells) return {};
    return retort::auc(members, others);
  }
};

// One a class.
using Attacks = std::vector<Attack>;

nlohmann::json number(std::optional<double> const& value) {
  return value && std::isfinite(*value) ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

// Of the cells that were sampled: minus the squared distance to the nearest cell of the set of their class.
Attacks attack_expression(EvaluationData const& data, SampledCells const& sampled, DistilledSet const& made) {
  auto const set = made.cells.contiguous(), given = made.labels.contiguous();
  auto const lengths = set.to(at::kDouble).square().sum(1).contiguous();
  auto const genes = set.size(1);
  std::vector<std::vector<std::int64_t>> of_class(data.labels.names.size());
  for (std::int64_t i = 0; i < set.size(0); ++i) of_class[index(given.const_data_ptr<std::int64_t>()[i])].push_back(i);
  Attacks attacks(of_class.size());
  auto const& cells = sampled.cells;
  for (std::size_t i = 0; i < sampled.rows.size(); ++i) {
    auto const row = index(sampled.rows[i]), c = index(data.labels.codes[row]);
    auto const begin = index(cells.indptr[i]), end = index(cells.indptr[i + 1]);
    double length = 0, nearest = std::numeric_limits<double>::infinity();
    for (auto k = begin; k < end; ++k)
      length += static_cast<double>(cells.values[k]) * static_cast<double>(cells.values[k]);
    for (auto const other : of_class[c]) {
      float const* const value = set.const_data_ptr<float>() + other * genes;
      double product = 0;
      for (auto k = begin; k < end; ++k)
        product += static_cast<double>(cells.values[k]) * static_cast<double>(value[cells.indices[k]]);
      nearest = std::min(nearest, length + lengths.const_data_ptr<double>()[other] - 2 * product);
    }
    if (!of_class[c].empty()) attacks[c].add(data.atlas->parts()[row], -nearest);
  }
  return attacks;
}

nlohmann::json leaking(std::vector<Attacks> const& attacks, std::vector<std::string> const& names) {
  auto leaks = nlohmann::json::array();
  for (std::size_t c = 0; c < names.size(); ++c) {
    auto const leaks_by = [&](Attacks const& attack) {
      auto const area = attack[c].auc();
      return area && area->low > leak;
    };
    if (std::any_of(attacks.begin(), attacks.end(), leaks_by)) leaks.push_back(names[c]);
  }
  return leaks;
}

void write(nlohmann::json& out, std::string const& attack, Attacks const& of_class,
           std::vector<std::string> const& names) {
  auto &areas = out[attack + "_auc_by_class"] = nlohmann::json::object(),
       &bounds = out[attack + "_lower_bound_by_class"] = nlohmann::json::object();
  Attack all;
  for (std::size_t c = 0; c < of_class.size(); ++c) {
    all.add(of_class[c]);
    auto const area = of_class[c].auc();
    if (!area) continue;
    areas[names[c]] = number(area->value);
    bounds[names[c]] = number(area->low);
  }
  auto const area = all.auc();
  out[attack + "_auc"] = area ? number(area->value) : nullptr;
  out[attack + "_interval"] = area ? nlohmann::json{number(area->low), number(area->high)} : nullptr;
}

}  // namespace

SampledCells sample_cells(EvaluationData const& data) {
  SampledCells sampled;
  std::vector<std::size_t> members(data.labels.names.size()), others(members);
  for (std::size_t row = 0; row < data.labels.codes.size(); ++row) {
    auto& taken = (data.atlas->parts()[row] == Part::fit ? members : others)[index(data.labels.codes[row])];
    if (taken++ < most_sampled) sampled.rows.push_back(static_cast<std::int64_t>(row));
  }
  sampled.cells = data.reader->read(sampled.rows);
  return sampled;
}

nlohmann::json audit_membership(EvaluationData const& data, SampledCells const& sampled, LabelledFeatures const& set,
                                DistilledSet const& made, HeadOptions const& options, std::uint64_t seed) {
  c10::InferenceMode const no_graph;
  auto const& names = data.labels.names;
  auto const classes = data.labels.classes();
  auto const head = train_head(set.features, set.labels, classes, options, seed, 0);
  std::vector<std::vector<std::int64_t>> rows_of_class(names.size());
  for (std::size_t row = 0; row < data.labels.codes.size(); ++row)
    rows_of_class[index(data.labels.codes[row])].push_back(static_cast<std::int64_t>(row));

  Attacks distance(names.size()), confidence(names.size());
  std::int64_t copies = 0;
  for (std::int64_t c = 0; c < classes; ++c) {
    auto const& rows = rows_of_class[index(c)];
    auto const of_set = set.features.index_select(0, at::nonzero(set.labels.eq(c)).flatten());  // [spc, width]
    if (rows.empty() || !of_set.size(0)) continue;
    auto const cells = data.features.index_select(0, at::tensor(rows, at::kLong));  // [n, width]
    auto const distances = at::cdist(cells, of_set, 2, 2);  // [n, spc], without the product that loses digits
    auto const nearest = std::get<0>(distances.min(1)).to(at::kDouble);
    auto const scores = at::log_softmax(head_scores(head, cells, options).to(at::kDouble), 1).select(1, c).contiguous();
    copies += std::get<0>(distances.min(0)).lt(copied).sum().item<std::int64_t>();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      auto const part = data.atlas->parts()[index(rows[i])];
      distance[index(c)].add(part, -nearest.const_data_ptr<double>()[i]);
      confidence[index(c)].add(part, scores.const_data_ptr<double>()[i]);
    }
  }

  nlohmann::json audit{{"copies", copies},
                       {"leaks", leaking({distance, confidence}, names)},
                       {"too_few_cells", nlohmann::json::array()}};
  for (std::size_t c = 0; c < names.size(); ++c)
    if (!distance[c].auc()) audit["too_few_cells"].push_back(names[c]);
  write(audit, "membership", distance, names);
  write(audit, "confidence", confidence, names);
  if (made.features.defined()) return audit;  // its cells are not what was distilled
  auto const expression = attack_expression(data, sampled, made);
  audit["expression_leaks"] = leaking({expression}, names);
  write(audit, "expression", expression, names);
  return audit;
}

}  // namespace retort
