#include "retort/evaluate/generated_cells.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "retort/cells/dense_cells.hpp"
#include "retort/cells/libraries.hpp"
#include "retort/distances/expression_statistics.hpp"
#include "retort/distances/frechet.hpp"
#include "retort/distances/kernel_discrepancy.hpp"
#include "retort/distances/neighbours.hpp"
#include "retort/distances/transport.hpp"
#include "retort/files/h5ad_writer.hpp"
#include "retort/generate/count_sampling.hpp"
#include "retort/ranks/share.hpp"
#include "retort/run/error.hpp"
#include "retort/vaes/cell_tokens.hpp"

namespace retort {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

std::vector<std::int64_t> cells_of(KindsOfCells const& cells, std::int32_t c) {
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < cells.classes.size(); ++i)
    if (cells.classes[i] == c) rows.push_back(static_cast<std::int64_t>(i));
  return rows;
}

at::Tensor first_rows(at::Tensor const& features, std::vector<std::int64_t> const& rows, std::size_t count) {
  return features.index_select(0, at::tensor(std::vector<std::int64_t>(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(count)), at::kLong));
}

double mean_of_numbers(std::vector<double> const& values) {
  double sum = 0;
  std::int64_t count = 0;
  for (double const value : values)
    if (std::isfinite(value)) sum += value, ++count;
  return count ? sum / static_cast<double>(count) : none;
}

at::Tensor log_normalised(at::Tensor const& counts) { return (counts * (1e4 / counts.sum(1, true).clamp_min(1))).log1p(); }

}  // namespace

KindsOfCells read_generated(std::filesystem::path const& file, Atlas const& atlas, Labels const& labels) {
  auto const set = read_cell_set(file);
  if (set.gene_names != atlas.gene_names()) fail(ExitCode::bad_input, "'{}' has other genes than the atlas (its cells cannot be compared). Generate it from this run", file.string());
  auto const column = std::find_if(set.columns.begin(), set.columns.end(), [&](auto const& one) { return one.name == labels.column; });
  if (column == set.columns.end()) fail(ExitCode::bad_input, "'{}' has no obs column '{}'", file.string(), labels.column);
  std::vector<std::int32_t> of_category;
  for (auto const& category : column->categories) {
    auto const known = std::find(labels.names.begin(), labels.names.end(), category);
    of_category.push_back(known == labels.names.end() ? -1 : static_cast<std::int32_t>(known - labels.names.begin()));
  }
  KindsOfCells cells{compressed(set.x, set.genes), {}};
  for (auto const code : column->codes) {
    if (code < 0 || of_category[static_cast<std::size_t>(code)] < 0) fail(ExitCode::bad_input, "'{}' obs/{} has a cell whose class the atlas does not know", file.string(), labels.column);
    cells.classes.push_back(of_category[static_cast<std::size_t>(code)]);
  }
  for (float const value : cells.counts.values)
    if (!(value >= 0 && std::isfinite(value))) fail(ExitCode::bad_input, "'{}' has a value {} (counts are finite and not negative)", file.string(), value);
  return cells;
}

GenerationScores score_generated(Communicator const& ranks, FeatureSpace const& space, KindsOfCells const& real, KindsOfCells const& generated, std::int64_t classes, std::int64_t most_cells) {
  GenerationScores scores;
  at::Tensor real_features, features;  // [n, components] float64
  ranks.together([&] {
    real_features = space.project(real.counts);
    features = space.project(generated.counts);
  });

  // Distances of a class are one rank's work; every number is computed once, and the others add zeros.
  std::vector<double> found(static_cast<std::size_t>(classes) * 3 + 3, 0);
  std::vector<std::uint8_t> left_out(static_cast<std::size_t>(classes), 0);
  ranks.together([&] {
    for (std::int64_t c = 0; c < classes; ++c) {
      auto const ours = cells_of(real, static_cast<std::int32_t>(c)), theirs = cells_of(generated, static_cast<std::int32_t>(c));
      auto const n = std::min({ours.size(), theirs.size(), static_cast<std::size_t>(most_cells)});
      left_out[static_cast<std::size_t>(c)] = n < 2;
      if (n < 2 || c % ranks.size() != ranks.rank()) continue;
      auto const a = first_rows(real_features, ours, n), b = first_rows(features, theirs, n);
      auto* const to = found.data() + 3 * c;
      to[0] = wasserstein2(a, b), to[1] = kernel_discrepancy(a, b), to[2] = frechet_distance(a, b);
    }
    if (classes % ranks.size() != ranks.rank()) return;
    auto const n = std::min({real_features.size(0), features.size(0), most_cells});
    auto const spread = [n](at::Tensor const& all) { return all.index_select(0, (at::arange(n, at::kLong) * all.size(0)).div(n, "floor")); };  // classes lie one after the other
    auto const a = spread(real_features), b = spread(features);
    auto* const to = found.data() + 3 * classes;
    to[0] = nearest_neighbour_accuracy(a, b).overall;
    constexpr std::int64_t neighbours = 3;
    auto const overlap = n > neighbours ? precision_and_recall(a, b, neighbours) : Overlap{none, none};
    to[1] = overlap.precision, to[2] = overlap.recall;
  });
  ranks.sum(std::span<double>(found));
  for (std::size_t c = 0; c < left_out.size(); ++c) {
    scores.w2_of_class.push_back(left_out[c] ? none : found[3 * c]);
    scores.mmd2_of_class.push_back(left_out[c] ? none : found[3 * c + 1]);
    scores.frechet_of_class.push_back(left_out[c] ? none : found[3 * c + 2]);
  }
  scores.w2 = mean_of_numbers(scores.w2_of_class);
  scores.mmd2 = mean_of_numbers(scores.mmd2_of_class);
  scores.frechet = mean_of_numbers(scores.frechet_of_class);
  auto const* const last = found.data() + 3 * classes;
  scores.neighbour_accuracy = last[0], scores.precision = last[1], scores.recall = last[2];

  auto const of_real = gene_spread(real.counts), of_generated = gene_spread(generated.counts);
  scores.zeros = of_generated.zero_proportion();
  scores.zero_gap = zero_gap(of_real, of_generated);
  scores.variation_gap = variation_gap(of_real, of_generated);
  scores.library = mean_library(generated.counts);
  return scores;
}

ReconstructionScores score_reconstruction(Communicator const& ranks, CellVae const& vae, Atlas const& atlas, std::vector<std::int64_t> const& rows, std::uint64_t seed) {
  constexpr std::int64_t block_rows = 128;
  auto const own = share_of(std::ssize(rows), ranks.rank(), ranks.size(), block_rows);
  auto const blocks = (std::ssize(rows) + block_rows - 1) / block_rows;
  std::vector<double> sums(static_cast<std::size_t>(blocks) * 3, 0);  // error, correlation * cells, squared error * cells of each block
  ranks.together([&] {
    c10::InferenceMode const no_graph;
    for (auto begin = own.begin; begin < own.end; begin += block_rows) {
      auto const n = std::min(block_rows, own.end - begin);
      auto const counts = std::make_shared<CsrBlock const>(atlas.read(std::span(rows).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(n))));
      auto const decoded = vae.decode(vae.embed(*counts));
      auto* const to = sums.data() + 3 * (begin / block_rows);
      to[0] = vae.reconstruction_error(counts, decoded).to(at::kDouble).sum().item<double>();
      at::Tensor const dense = at::zeros({n, counts->genes});
      dense.view(-1).index_copy_(0, nonzero_places(*counts), at::tensor(counts->values, at::kFloat));
      auto const truth = log_normalised(dense);
      auto const sampled = decoded.log_theta.defined() ? log_normalised(sample_counts(decoded, libraries(*counts), seed, begin)) : sample_expression(decoded, seed, begin, true);
      double const correlation = n > 1 ? gene_correlation(truth, sampled) : none;
      to[1] = std::isfinite(correlation) ? correlation * static_cast<double>(n) : 0;
      to[2] = mean_squared_error(truth, sampled) * static_cast<double>(n);
    }
  });
  ranks.sum(std::span<double>(sums));
  ReconstructionScores scores;
  auto const cells = static_cast<double>(rows.size());
  for (std::size_t b = 0; b < static_cast<std::size_t>(blocks); ++b) scores.error += sums[3 * b] / cells, scores.correlation += sums[3 * b + 1] / cells, scores.squared_error += sums[3 * b + 2] / cells;
  return scores;
}

nlohmann::json json_of(GenerationScores const& scores) {
  auto const number = [](double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); };
  auto const list = [&](std::vector<double> const& values) {
    auto all = nlohmann::json::array();
    for (double const value : values) all.push_back(number(value));
    return all;
  };
  return {{"w2", number(scores.w2)}, {"mmd2", number(scores.mmd2)}, {"frechet", number(scores.frechet)}, {"neighbour_accuracy", number(scores.neighbour_accuracy)}, {"precision", number(scores.precision)}, {"recall", number(scores.recall)},
          {"zeros", number(scores.zeros)}, {"zero_gap", number(scores.zero_gap)}, {"variation_gap", number(scores.variation_gap)}, {"library", number(scores.library)},
          {"of_class", {{"w2", list(scores.w2_of_class)}, {"mmd2", list(scores.mmd2_of_class)}, {"frechet", list(scores.frechet_of_class)}}}};
}

}  // namespace retort
