#include "retort/fidelity/generation_baselines.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "retort/cells/csr_rows.hpp"
#include "retort/cells/dense_cells.hpp"
#include "retort/fidelity/expression_statistics.hpp"
#include "retort/generate/count_sampling.hpp"
#include "retort/generate/row_noise.hpp"
#include "retort/ranks/share.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows_of_a_block = 64;

// Rows of the train part, by kind; of kinds that the terms cover.
std::vector<std::vector<std::int64_t>> train_rows(Atlas const& atlas, Kinds const& kinds, Terms const& terms) {
  std::vector<std::vector<std::int64_t>> rows(kinds.names.size());
  for (std::size_t row = 0; row < kinds.of_row.size(); ++row)
    if (atlas.parts()[row] != Part::test && terms.covers[index(kinds.of_row[row])])
      rows[index(kinds.of_row[row])].push_back(static_cast<std::int64_t>(row));
  return rows;
}

// Of each kind as many of them as it has test cells, or all there are.
std::vector<std::vector<std::int64_t>> as_many_train_rows(Atlas const& atlas, Kinds const& kinds, Terms const& terms,
                                                          std::uint64_t seed) {
  auto rows = train_rows(atlas, kinds, terms);
  for (std::size_t kind = 0; kind < rows.size(); ++kind) {
    Random(seed, purpose::distances, kind).shuffle(rows[kind]);
    rows[kind].resize(index(std::min(std::ssize(rows[kind]), kinds.test_cells[kind])));
  }
  return rows;
}

// Collective: the rows of all ranks, in rank order.
CsrBlock gathered(Communicator const& ranks, CsrBlock const& own) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t row = 0; row < own.rows(); ++row)
    lengths.push_back(own.indptr[index(row + 1)] - own.indptr[index(row)]);
  CsrBlock all;
  all.genes = own.genes;
  for (auto const length : ranks.gather(std::span<std::int64_t const>(lengths)))
    all.indptr.push_back(all.indptr.back() + length);
  all.indices = ranks.gather(std::span<std::int32_t const>(own.indices));
  all.values = ranks.gather(std::span<float const>(own.values));
  return all;
}

}  // namespace

CellsOfKinds train_cells(Atlas const& atlas, Kinds const& kinds, Terms const& terms, std::uint64_t seed) {
  std::vector<std::int64_t> rows;
  for (auto const& of_kind : as_many_train_rows(atlas, kinds, terms, seed))
    rows.insert(rows.end(), of_kind.begin(), of_kind.end());
  return real_cells(atlas, kinds, rows, terms);
}

std::vector<std::int64_t> rows_in_proportion(CellsOfKinds const& cells, Kinds const& kinds, Terms const& terms,
                                             std::int64_t most_cells) {
  std::int64_t largest = 0;
  for (std::size_t kind = 0; kind < kinds.test_cells.size(); ++kind)
    if (terms.covers[kind]) largest = std::max(largest, kinds.test_cells[kind]);
  std::vector<std::int64_t> rows, of_kind(kinds.test_cells.size());
  if (largest <= most_cells) return rows;
  double const kept = static_cast<double>(most_cells) / static_cast<double>(largest);
  for (std::size_t row = 0; row < cells.kinds.size(); ++row) {
    auto const kind = index(cells.kinds[row]);
    if (of_kind[kind]++ < std::llround(kept * static_cast<double>(kinds.test_cells[kind])))
      rows.push_back(static_cast<std::int64_t>(row));
  }
  return rows;
}

at::Tensor gaussian_like(at::Tensor const& points, std::int64_t count, std::uint64_t seed, std::int64_t first) {
  c10::InferenceMode const no_graph;
  at::Tensor const x = points.to(at::kDouble), mean = x.mean(0), deviations = x - mean;
  auto const n = x.size(0), width = x.size(1);
  at::Tensor axes =
      deviations /
      std::sqrt(static_cast<double>(std::max<std::int64_t>(1, n - 1)));  // [n, width]: axes^T axes is the covariance
  if (n > width) {
    auto const [variances, vectors] = at::linalg_eigh(at::mm(axes.t(), axes));
    axes = (vectors * variances.clamp_min(0).sqrt()).t();
  }
  at::Tensor const weights = at::empty({count, axes.size(0)}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i) {
    Random random(seed, purpose::distances, static_cast<std::uint64_t>(first + i), 1);
    for (std::int64_t k = 0; k < axes.size(0); ++k)
      weights.mutable_data_ptr<double>()[i * axes.size(0) + k] = random.normal();
  }
  return (mean + at::mm(weights, axes)).to(at::kFloat);
}

SizeFactors train_libraries(Communicator const& ranks, Atlas const& atlas, Kinds const& kinds) {
  std::vector<std::int64_t> all_train;
  for (std::size_t row = 0; row < kinds.of_row.size(); ++row)
    if (atlas.parts()[row] != Part::test) all_train.push_back(static_cast<std::int64_t>(row));
  return size_factors(ranks, atlas, all_train, kinds.of_row, kinds.count());
}

CellsOfKinds latent_cells(Communicator const& ranks, LatentBaseline baseline, CellVae const& vae,
                          Features const& latents, SizeFactors const& libraries, Atlas const& atlas, Kinds const& kinds,
                          Terms const& terms, std::uint64_t seed) {
  auto const own_seed = ~seed;  // not the libraries and counts that retort-generate draws
  CellsOfKinds made;
  CsrBlock own_cells;
  own_cells.genes = std::ssize(terms.genes);
  ranks.together([&] {
    c10::InferenceMode const no_graph;
    auto const every = at::from_blob(const_cast<float*>(latents.values.data()), {latents.rows, latents.width});
    bool const are_real = baseline == LatentBaseline::train_cells;
    auto const of_kind = are_real ? as_many_train_rows(atlas, kinds, terms, seed) : train_rows(atlas, kinds, terms);
    std::vector<at::Tensor> drawn;
    for (std::int64_t kind = 0; kind < kinds.count(); ++kind) {
      auto const& train = of_kind[index(kind)];
      if (train.empty()) continue;
      auto const wanted = are_real ? std::ssize(train) : kinds.test_cells[index(kind)];
      auto const points = every.index_select(0, at::tensor(train, at::kLong));
      drawn.push_back(are_real ? points
                      : baseline == LatentBaseline::gaussian_of_kind
                          ? gaussian_like(points, wanted, own_seed, std::ssize(made.kinds))
                          : row_noise(own_seed, {std::ssize(made.kinds), wanted}, latents.width, 0));
      made.kinds.insert(made.kinds.end(), index(wanted), static_cast<std::int32_t>(kind));
    }
    if (drawn.empty()) return;
    at::Tensor const points = at::cat(drawn);
    auto const own = share_of(points.size(0), ranks.rank(), ranks.size(), rows_of_a_block);
    for (auto begin = own.begin; begin < own.end; begin += rows_of_a_block) {
      auto const n = std::min(rows_of_a_block, own.end - begin);
      std::vector<double> of_cell;
      for (auto row = begin; row < begin + n; ++row)
        of_cell.push_back(libraries.draw(made.kinds[index(row)], own_seed, row));
      auto const counts = sample_counts(vae.decode(points.narrow(0, begin, n).contiguous()), of_cell, own_seed, begin);
      append_rows(own_cells,
                  cut_to_genes(compressed({counts.const_data_ptr<float>(), index(counts.numel())}, counts.size(1)),
                               terms.genes));
    }
  });
  made.cells = gathered(ranks, own_cells);
  return made;
}

CellsOfKinds gaussian_expression_cells(Atlas const& atlas, Kinds const& kinds, Terms const& terms, std::uint64_t seed) {
  auto const of_kind = train_rows(atlas, kinds, terms);
  CellsOfKinds made;
  made.cells.genes = std::ssize(terms.genes);
  for (std::int64_t kind = 0; kind < kinds.count(); ++kind) {
    if (of_kind[index(kind)].empty()) continue;
    auto const spread = gene_spread(real_cells(atlas, kinds, of_kind[index(kind)], terms).cells);
    auto const *const mean = spread.mean.const_data_ptr<double>(), *const deviation =
                                                                       spread.deviation.const_data_ptr<double>();
    for (std::int64_t cell = 0; cell < kinds.test_cells[index(kind)]; ++cell) {
      Random random(seed, purpose::distances, made.kinds.size(), 2);
      for (std::int64_t gene = 0; gene < made.cells.genes; ++gene) {
        auto const value = static_cast<float>(mean[gene] + deviation[gene] * random.normal());
        if (!(value > 0)) continue;
        made.cells.indices.push_back(static_cast<std::int32_t>(gene));
        made.cells.values.push_back(value);
      }
      made.cells.indptr.push_back(std::ssize(made.cells.indices));
      made.kinds.push_back(static_cast<std::int32_t>(kind));
    }
  }
  return made;
}

}  // namespace retort
