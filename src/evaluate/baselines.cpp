#include "retort/evaluate/baselines.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "retort/evaluate/kmeans.hpp"
#include "retort/kernels/rescale.hpp"
#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows_of_a_read = 4096;

// The features of some rows, [rows, width].
std::vector<float> features_of(at::Tensor const& features, std::vector<std::int64_t> const& rows) {
  auto const width = features.size(1);
  float const* const from = features.const_data_ptr<float>();
  std::vector<float> values(rows.size() * index(width));
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(from + rows[i] * width, width, values.begin() + static_cast<std::ptrdiff_t>(i) * width);
  return values;
}

}  // namespace

ChosenRows random_rows(RowsByClass const& train, std::int64_t spc, std::uint64_t seed, std::uint64_t draw) {
  ChosenRows chosen;
  for (std::size_t c = 0; c < train.size(); ++c) {
    if (train[c].empty()) continue;
    auto rows = train[c];
    Random random(seed, purpose::baseline, draw, static_cast<std::uint32_t>(c));
    for (std::size_t k = 0; k < index(spc); ++k) {
      if (k < rows.size()) std::swap(rows[k], rows[k + random.below(rows.size() - k)]);
      chosen.rows.push_back(k < rows.size() ? rows[k] : rows[random.below(rows.size())]);
      chosen.labels.push_back(static_cast<std::int64_t>(c));
    }
  }
  return chosen;
}

ChosenRows medoid_rows(RowsByClass const& train, at::Tensor const& features) {
  auto const width = features.size(1);
  ChosenRows chosen;
  for (std::size_t c = 0; c < train.size(); ++c) {
    if (train[c].empty()) continue;
    auto const points = features_of(features, train[c]);
    Clusters one{1, std::vector<std::int32_t>(train[c].size(), 0), std::vector<double>(index(width)), 0};
    for (std::size_t i = 0; i < points.size(); ++i) one.centroids[i % index(width)] += static_cast<double>(points[i]);
    for (double& value : one.centroids) value /= static_cast<double>(train[c].size());
    chosen.rows.push_back(train[c][index(nearest_points(points, width, one).front())]);
    chosen.labels.push_back(static_cast<std::int64_t>(c));
  }
  return chosen;
}

ClusteredRows kmeans_rows(Communicator const& ranks, RowsByClass const& train, at::Tensor const& features,
                          std::int64_t spc, std::uint64_t seed) {
  auto const width = features.size(1), cells = features.size(0);
  // Each rank fills in what it finds; what it does not know stays zero, so integer sums join the pieces.
  std::vector<std::int64_t> of_cell(index(cells)), nearest(train.size() * index(spc));
  ranks.together([&] {
    for (std::size_t c = index(ranks.rank()); c < train.size(); c += index(ranks.size())) {
      if (train[c].empty()) continue;
      auto const points = features_of(features, train[c]);
      auto const clusters = kmeans(
          points, width, spc,
          Random(seed, purpose::baseline, std::numeric_limits<std::uint64_t>::max(), static_cast<std::uint32_t>(c)));
      auto const real = nearest_points(points, width, clusters);
      for (std::size_t k = 0; k < index(spc); ++k) nearest[c * index(spc) + k] = train[c][index(real[k % real.size()])];
      for (std::size_t i = 0; i < train[c].size(); ++i) of_cell[index(train[c][i])] = clusters.of_point[i] + 1;
    }
  });
  ranks.sum(std::span(of_cell));
  ranks.sum(std::span(nearest));
  ClusteredRows chosen;
  chosen.groups.assign(index(cells), -1);
  for (std::size_t c = 0; c < train.size(); ++c) {
    if (train[c].empty()) continue;
    auto const first = static_cast<std::int64_t>(chosen.nearest.rows.size());
    for (auto const row : train[c]) chosen.groups[index(row)] = first + of_cell[index(row)] - 1;
    for (std::size_t k = 0; k < index(spc); ++k) {
      chosen.nearest.rows.push_back(nearest[c * index(spc) + k]);
      chosen.nearest.labels.push_back(static_cast<std::int64_t>(c));
      chosen.group_of_row.push_back(first + static_cast<std::int64_t>(k % std::min(index(spc), train[c].size())));
    }
  }
  return chosen;
}

at::Tensor group_means(Communicator const& ranks, ShardPlan const& plan, ReadRows const& read,
                       std::span<std::int64_t const> groups, std::int64_t count, std::int64_t genes) {
  auto const cells = static_cast<std::int64_t>(groups.size());
  std::vector<std::vector<double>> of_shards;
  ranks.together([&] {
    for (int shard = plan.begin(); shard < plan.end(); ++shard) {
      auto& sum = of_shards.emplace_back(index(count * genes));
      auto const rows = share_of(cells, shard, plan.shards());
      for (auto begin = rows.begin; begin < rows.end; begin += rows_of_a_read) {
        auto const block = read({begin, std::min(rows.end, begin + rows_of_a_read)});
        for (std::int64_t i = 0; i < block.rows(); ++i) {
          auto const group = groups[index(begin + i)];
          if (group < 0) continue;
          for (auto k = index(block.indptr[index(i)]); k < index(block.indptr[index(i) + 1]); ++k)
            sum[index(group * genes + block.indices[k])] += static_cast<double>(block.values[k]);
        }
      }
    }
  });
  auto const sums = ordered_sum<double>(ranks, plan, count * genes,
                                        [&](int shard) { return std::move(of_shards[index(shard - plan.begin())]); });
  std::vector<std::int64_t> sizes(index(count));
  for (auto const group : groups)
    if (group >= 0) ++sizes[index(group)];
  auto means = at::zeros({count, genes}, at::kFloat);
  float* const mean = means.data_ptr<float>();
  for (std::int64_t group = 0; group < count; ++group)
    for (std::int64_t gene = 0; sizes[index(group)] && gene < genes; ++gene)
      mean[group * genes + gene] =
          static_cast<float>(sums[index(group * genes + gene)] / static_cast<double>(sizes[index(group)]));
  return rescale_to_cell(means);
}

at::Tensor dense_rows(ReadRows const& read, std::span<std::int64_t const> rows, std::int64_t genes) {
  auto dense = at::zeros({static_cast<std::int64_t>(rows.size()), genes}, at::kFloat);
  float* const to = dense.data_ptr<float>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto const row = read({rows[i], rows[i] + 1});
    for (std::size_t k = 0; k < row.indices.size(); ++k)
      to[static_cast<std::int64_t>(i) * genes + row.indices[k]] = row.values[k];
  }
  return dense;
}

}  // namespace retort
