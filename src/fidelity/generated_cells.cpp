#include "retort/fidelity/generated_cells.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "retort/cells/csr_rows.hpp"
#include "retort/cells/libraries.hpp"
#include "retort/fidelity/expression_statistics.hpp"
#include "retort/fidelity/frechet.hpp"
#include "retort/fidelity/kernel_discrepancy.hpp"
#include "retort/fidelity/neighbours.hpp"
#include "retort/fidelity/transport.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();
constexpr double least_mean = 0.01;  // of a gene whose coefficient of variation counts

std::vector<std::int64_t> cells_of(CellsOfKinds const& cells, std::int64_t kind) {
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < cells.kinds.size(); ++i)
    if (cells.kinds[i] == kind) rows.push_back(static_cast<std::int64_t>(i));
  return rows;
}

// A set in both of the forms that distances ask for.
struct Side {
  CellsOfKinds const& set;
  at::Tensor features;  // [n, components] float64
  CsrBlock expression;  // log-normalised, over all genes of the terms

  Side(Comparison const& comparison, CellsOfKinds const& cells)
      : set(cells), features(comparison.space.project(cells.cells)), expression(cells.cells) {
    if (comparison.terms.values == CellValues::counts) log_normalise(expression);
  }

  at::Tensor features_of(std::span<std::int64_t const> rows) const {
    return features.index_select(0, at::tensor(at::ArrayRef<std::int64_t>(rows.data(), rows.size()), at::kLong));
  }

  // [rows, variable genes] float64.
  at::Tensor expression_of(std::span<std::int64_t const> rows, std::vector<std::int32_t> const& genes) const {
    std::vector<std::int64_t> column(index(expression.genes), -1);
    for (std::size_t i = 0; i < genes.size(); ++i) column[index(genes[i])] = static_cast<std::int64_t>(i);
    at::Tensor const dense = at::zeros({std::ssize(rows), std::ssize(genes)}, at::kDouble);
    auto to = dense.accessor<double, 2>();
    for (std::int64_t i = 0; i < std::ssize(rows); ++i) {
      auto const row = rows[index(i)];
      for (auto k = index(expression.indptr[index(row)]); k < index(expression.indptr[index(row + 1)]); ++k)
        if (auto const place = column[index(expression.indices[k])]; place >= 0)
          to[i][place] = static_cast<double>(expression.values[k]);
    }
    return dense;
  }
};

// Kinds may lie one after the other: `count` rows at even distances.
std::vector<std::int64_t> evenly(std::int64_t rows, std::int64_t count) {
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < count; ++i) chosen.push_back(i * rows / count);
  return chosen;
}

Distances distances_of(Side const& real, Side const& generated, std::vector<std::int64_t> const& ours,
                       std::vector<std::int64_t> const& theirs, std::vector<std::int32_t> const& genes) {
  constexpr std::int64_t genes_per_block = 20;  // scRDiT's
  auto const a = real.features_of(ours), b = generated.features_of(theirs);
  auto const x = real.expression_of(ours, genes), y = generated.expression_of(theirs, genes);
  auto const some = [](at::Tensor const& rows) {
    return rows.index_select(
        0, at::tensor(evenly(rows.size(0), std::min(rows.size(0), most_cells_of_scrdit_mmd)), at::kLong));
  };
  return {wasserstein2(a, b),           kernel_discrepancy(a, b),
          frechet_distance(a, b),       softmax_divergence(x, y),
          wasserstein1_of_values(x, y), multi_kernel_discrepancy(some(x), some(y), genes_per_block)};
}

// 1-NN accuracy, precision and recall.
std::array<double, 3> neighbourhoods_of(at::Tensor const& real, at::Tensor const& generated) {
  constexpr std::int64_t neighbours = 3;
  auto const overlap =
      real.size(0) > neighbours ? precision_and_recall(real, generated, neighbours) : Overlap{none, none};
  return {nearest_neighbour_accuracy(real, generated).overall, overlap.precision, overlap.recall};
}

Distances mean_of(std::vector<Distances> const& of_kind, std::vector<bool> const& counts) {
  Distances mean;
  for (std::size_t d = 0; d < mean.size(); ++d) {
    double sum = 0, kinds = 0;
    for (std::size_t kind = 0; kind < of_kind.size(); ++kind)
      if (counts[kind] && std::isfinite(of_kind[kind][d])) sum += of_kind[kind][d], ++kinds;
    mean[d] = kinds > 0 ? sum / kinds : none;
  }
  return mean;
}

std::vector<double> zeros_of_kinds(CellsOfKinds const& set, std::int64_t kinds) {
  std::vector<double> filled(index(kinds), 0), cells(index(kinds), 0);
  for (std::size_t i = 0; i < set.kinds.size(); ++i) {
    auto const kind = index(set.kinds[i]);
    ++cells[kind];
    for (auto k = index(set.cells.indptr[i]); k < index(set.cells.indptr[i + 1]); ++k)
      filled[kind] += set.cells.values[k] != 0;
  }
  for (std::size_t kind = 0; kind < filled.size(); ++kind)
    filled[kind] = cells[kind] > 0 ? 1 - filled[kind] / (cells[kind] * static_cast<double>(set.cells.genes)) : none;
  return filled;
}

double median_variation(GeneSpread const& spread) {
  auto const variation = spread.coefficient_of_variation().masked_select(spread.mean > least_mean);
  return variation.numel() ? variation.median().item<double>() : none;
}

// Which cells of both sides are compared: of a kind, or of all.
struct Pair {
  std::vector<std::int64_t> real, generated;  // rows, as many of each
};

// The first cells of a kind; none where there are too few.
std::optional<Pair> pair_of_kind(CellsOfKinds const& real, CellsOfKinds const& generated, std::int64_t kind,
                                 std::int64_t most_cells) {
  Pair pair{cells_of(real, kind), cells_of(generated, kind)};
  auto const n = std::min({std::ssize(pair.real), std::ssize(pair.generated), most_cells});
  if (n < 2) return std::nullopt;
  pair.real.resize(index(n)), pair.generated.resize(index(n));
  return pair;
}

// Evenly of all real cells, and of the rows `together` of the generated ones.
std::optional<Pair> pair_of_all(CellsOfKinds const& real, std::span<std::int64_t const> together,
                                std::int64_t most_cells) {
  auto const n = std::min({real.cells.rows(), std::ssize(together), most_cells});
  if (n < 2) return std::nullopt;
  Pair pair{evenly(real.cells.rows(), n), evenly(std::ssize(together), n)};
  for (auto& row : pair.generated) row = together[index(row)];
  return pair;
}

// What is compared, of each kind and last of all cells; none where a side has too few, or nobody knows the kinds.
std::vector<std::optional<Pair>> pairs_of(Comparison const& comparison, CellsOfKinds const& generated,
                                          std::int64_t kinds, std::int64_t most_cells,
                                          std::span<std::int64_t const> in_proportion) {
  std::vector<std::optional<Pair>> pairs(index(kinds));
  if (comparison.terms.is_labelled)
    for (std::int64_t kind = 0; kind < kinds; ++kind)
      pairs[index(kind)] = pair_of_kind(comparison.real, generated, kind, most_cells);
  auto const every = evenly(generated.cells.rows(), generated.cells.rows());
  pairs.push_back(pair_of_all(comparison.real, in_proportion.empty() ? every : in_proportion, most_cells));
  return pairs;
}

struct Measured {
  std::vector<Distances> of_pair;      // NaN where there is no pair
  std::array<double, 3> neighbours{};  // of the last pair, which is of all cells
};

// Collective: pairs are shared out over ranks. Every number is computed on one rank, and the others add zeros.
Measured measure(Communicator const& ranks, Comparison const& comparison, CellsOfKinds const& generated,
                 std::vector<std::optional<Pair>> const& pairs) {
  auto const width = std::ssize(distance_names), neighbours_at = std::ssize(pairs) * width;
  Measured measured{std::vector<Distances>(pairs.size()), {}};
  auto found = ranks.together([&] {
    std::vector<double> own(index(neighbours_at) + measured.neighbours.size(), 0);
    Side const ours(comparison, comparison.real), theirs(comparison, generated);
    for (auto p = std::ptrdiff_t{ranks.rank()}; p < std::ssize(pairs); p += ranks.size()) {
      if (!pairs[index(p)]) continue;
      auto const& [real, rows] = *pairs[index(p)];
      std::ranges::copy(distances_of(ours, theirs, real, rows, comparison.space.variable().genes),
                        own.begin() + p * width);
      if (p + 1 == std::ssize(pairs))
        std::ranges::copy(neighbourhoods_of(ours.features_of(real), theirs.features_of(rows)),
                          own.begin() + neighbours_at);
    }
    return own;
  });
  ranks.sum(std::span<double>(found));
  for (std::ptrdiff_t p = 0; p < std::ssize(pairs); ++p) {
    auto& distances = measured.of_pair[index(p)];
    if (pairs[index(p)])
      std::copy_n(found.begin() + p * width, width, distances.begin());
    else
      distances.fill(none);
  }
  if (pairs.back())
    std::copy(found.begin() + neighbours_at, found.end(), measured.neighbours.begin());
  else
    measured.neighbours.fill(none);
  return measured;
}

// Gene by gene, of all generated cells together.
void add_statistics(GenerationScores& scores, Comparison const& comparison, CsrBlock const& generated) {
  auto const of_real = gene_spread(comparison.real.cells), of_generated = gene_spread(generated);
  scores.zeros = of_generated.zero_proportion();
  scores.variation = median_variation(of_generated);
  scores.zero_gap = zero_gap(of_real, of_generated);
  scores.variation_gap = variation_gap(of_real, of_generated, least_mean);
  scores.library = comparison.terms.values == CellValues::counts ? mean_library(generated) : none;
}

nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

nlohmann::json numbers(std::vector<double> const& values) {
  auto all = nlohmann::json::array();
  for (double const value : values) all.push_back(number(value));
  return all;
}

nlohmann::json named(Distances const& distances) {
  nlohmann::json by_name;
  for (std::size_t d = 0; d < distances.size(); ++d) by_name[distance_names[d]] = number(distances[d]);
  return by_name;
}

}  // namespace

Comparison comparison_with(Atlas const& atlas, Kinds const& kinds, std::vector<std::int64_t> const& test,
                           Terms const& terms, FeatureSpaceOptions options) {
  options.log_normalised = terms.values == CellValues::log_normalised;
  std::vector<std::int64_t> covered;
  for (auto const row : test)
    if (terms.covers[index(kinds.of_row[index(row)])]) covered.push_back(row);
  auto real = real_cells(atlas, kinds, covered, terms);
  auto space = FeatureSpace::fit(real.cells, options);
  return {terms, std::move(real), std::move(space)};
}

GenerationScores score_generated(Communicator const& ranks, Comparison const& comparison, Kinds const& kinds,
                                 CellsOfKinds const& generated, std::int64_t most_cells,
                                 std::span<std::int64_t const> in_proportion) {
  auto const count = kinds.count();
  bool const is_labelled = comparison.terms.is_labelled;
  auto measured =
      measure(ranks, comparison, generated, pairs_of(comparison, generated, count, most_cells, in_proportion));
  GenerationScores scores;
  scores.of_all = measured.of_pair.back();
  measured.of_pair.pop_back();
  scores.of_kind = std::move(measured.of_pair);
  scores.mean = is_labelled ? mean_of(scores.of_kind, std::vector<bool>(index(count), true)) : scores.of_all;
  scores.mean_unseen = mean_of(scores.of_kind, kinds.unseen);
  auto const [accuracy, precision, recall] = measured.neighbours;
  scores.neighbour_accuracy = accuracy, scores.precision = precision, scores.recall = recall;
  scores.zeros_of_kind = is_labelled ? zeros_of_kinds(generated, count) : std::vector<double>(index(count), none);
  if (in_proportion.empty())
    add_statistics(scores, comparison, generated.cells);
  else
    add_statistics(scores, comparison, chosen_rows(generated.cells, in_proportion));
  return scores;
}

nlohmann::json json_of(GenerationScores const& scores) {
  auto json = named(scores.mean);
  json["of_all"] = named(scores.of_all);
  if (std::isfinite(scores.mean_unseen.front())) json["unseen"] = named(scores.mean_unseen);
  json.update({{"neighbour_accuracy", number(scores.neighbour_accuracy)},
               {"precision", number(scores.precision)},
               {"recall", number(scores.recall)},
               {"zeros", number(scores.zeros)},
               {"variation", number(scores.variation)},
               {"zero_gap", number(scores.zero_gap)},
               {"variation_gap", number(scores.variation_gap)},
               {"library", number(scores.library)}});
  for (std::size_t d = 0; d < distance_names.size(); ++d) {
    std::vector<double> of_kind;
    for (auto const& distances : scores.of_kind) of_kind.push_back(distances[d]);
    json["of_class"][distance_names[d]] = numbers(of_kind);
  }
  json["of_class"]["zeros"] = numbers(scores.zeros_of_kind);
  return json;
}

nlohmann::json json_of(Comparison const& comparison, Kinds const& kinds) {
  auto const spread = gene_spread(comparison.real.cells);
  bool const are_counts = comparison.terms.values == CellValues::counts;
  return {{"values", are_counts ? "counts" : "log_normalised"},
          {"is_labelled", comparison.terms.is_labelled},
          {"test_cells", comparison.real.kinds.size()},
          {"genes", comparison.terms.genes.size()},
          {"variable_genes", comparison.space.variable().genes.size()},
          {"components", comparison.space.components()},
          {"real",
           {{"zeros", spread.zero_proportion()},
            {"variation", number(median_variation(spread))},
            {"library", number(are_counts ? mean_library(comparison.real.cells) : none)},
            {"zeros_of_class", numbers(zeros_of_kinds(comparison.real, kinds.count()))}}}};
}

}  // namespace retort
