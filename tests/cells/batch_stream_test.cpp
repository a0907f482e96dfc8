// Batches from an atlas: each fit row once an epoch, the same batches at any number of ranks, well mixed.
#include "retort/cells/batch_stream.hpp"

#include <algorithm>

#include "../shared_folder.hpp"
#include "retort/cells/csr_rows.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t steps = 9, shards = 4;

std::filesystem::path simulated(Communicator const& ranks, SharedFolder const& folder) {
  SimulateOptions options;
  options.cells = 700;
  options.genes = 200;
  options.types = 5;
  simulate(ranks, options, 3, folder / "atlas.h5ad");
  return folder / "atlas.h5ad";
}

BatchStream stream_of(Atlas const& atlas, ShardPlan const& plan) {
  return BatchStream(atlas, rows_of_part(atlas, Part::fit), atlas.labels("cell_type").codes, {64, 16, 8}, plan, 5);
}

// All ranks' rows, shard after shard.
std::vector<std::int64_t> batch_of(Communicator const& ranks, ShardPlan const& plan, BatchStream& stream,
                                   std::int64_t step) {
  std::vector<std::int64_t> own;
  if (plan.begin() < plan.end()) own = stream.shards(step, plan.begin(), plan.end() - plan.begin()).rows;
  return ranks.gather(std::span<std::int64_t const>(own));
}

TEST(BatchStream, BatchesAreThoseOfOneRank) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "batch_stream");
  Atlas const atlas(simulated(ranks, folder));
  ShardPlan const plan(shards, ranks.rank(), ranks.size()), alone(shards, 0, 1);
  auto stream = stream_of(atlas, plan), whole = stream_of(atlas, alone);
  for (std::int64_t step = 0; step < steps; ++step) {
    auto const expected = whole.rows_of(step, 0, shards);
    EXPECT_EQ(expected.size(), 64u);
    EXPECT_EQ(batch_of(ranks, plan, stream, step), expected) << step;
  }
}

TEST(BatchStream, EveryFitRowOnceAnEpochAndNoOther) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "batch_stream");
  Atlas const atlas(simulated(ranks, folder));
  auto stream = stream_of(atlas, ShardPlan(shards, 0, 1));
  auto const fit = rows_of_part(atlas, Part::fit);
  EXPECT_LT(static_cast<std::int64_t>(fit.size()), atlas.cells());
  std::vector<std::int64_t> sequence;
  for (std::int64_t step = 0; static_cast<std::int64_t>(sequence.size()) < 2 * stream.rows(); ++step) {
    for (int shard = 0; shard < shards; ++shard) {
      auto const rows = stream.rows_of(step, shard, 1);
      sequence.insert(sequence.end(), rows.begin(), rows.end());
    }
  }
  for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<std::int64_t> rows(sequence.begin() + epoch * stream.rows(),
                                   sequence.begin() + (epoch + 1) * stream.rows());
    std::sort(rows.begin(), rows.end());
    EXPECT_EQ(rows, fit);
  }
}

TEST(BatchStream, CellsAndLabelsAreThoseOfTheirRows) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "batch_stream");
  Atlas const atlas(simulated(ranks, folder));
  ShardPlan const plan(shards, ranks.rank(), ranks.size());
  auto stream = stream_of(atlas, plan);
  auto const labels = atlas.labels("cell_type");
  for (std::int64_t const step : {0, 1, 2, 7, 3}) {  // also steps that were not read ahead
    for (int shard = plan.begin(); shard < plan.end(); ++shard) {
      auto const batch = stream.shards(step, shard, 1);
      EXPECT_EQ(batch.cells.rows(), 16);
      EXPECT_EQ(batch.labels.size(), 16u);
      for (std::size_t i = 0; i < batch.rows.size(); ++i) {
        auto const expected = atlas.read_log(batch.rows[i], batch.rows[i] + 1);
        EXPECT_EQ(batch.labels[i], labels.codes[index(batch.rows[i])]);
        auto const begin = batch.cells.indptr[i], end = batch.cells.indptr[i + 1];
        EXPECT_EQ(std::vector<float>(batch.cells.values.begin() + begin, batch.cells.values.begin() + end),
                  expected.values);
        EXPECT_EQ(std::vector<std::int32_t>(batch.cells.indices.begin() + begin, batch.cells.indices.begin() + end),
                  expected.indices);
      }
    }
  }
}

TEST(BatchStream, ShardsTogetherAreThoseOfEach) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "batch_stream");
  Atlas const atlas(simulated(ranks, folder));
  ShardPlan const alone(shards, 0, 1);
  auto whole = stream_of(atlas, alone), in_halves = stream_of(atlas, alone), one_by_one = stream_of(atlas, alone);
  for (std::int64_t step = 0; step < 3; ++step) {
    auto const all = whole.shards(step, 0, shards);
    EXPECT_EQ(all.cells_of_a_shard(), 16);
    for (int const width : {2, 1}) {
      ShardBatch joined{0, shards, {}, {}, {}};
      for (int first = 0; first < shards; first += width) {
        auto const part = (width == 2 ? in_halves : one_by_one).shards(step, first, width);
        EXPECT_EQ(part.first, first);
        EXPECT_EQ(part.shards, width);
        joined.rows.insert(joined.rows.end(), part.rows.begin(), part.rows.end());
        joined.labels.insert(joined.labels.end(), part.labels.begin(), part.labels.end());
        append_rows(joined.cells, part.cells);
      }
      EXPECT_EQ(joined.rows, all.rows);
      EXPECT_EQ(joined.labels, all.labels);
      EXPECT_EQ(joined.cells.indptr, all.cells.indptr);
      EXPECT_EQ(joined.cells.indices, all.cells.indices);
      EXPECT_EQ(joined.cells.values, all.cells.values);
    }
  }
}

TEST(BatchStream, BatchesAreAsMixedAsRandomOnes) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "batch_stream");
  Atlas const atlas(simulated(ranks, folder));
  auto stream = stream_of(atlas, ShardPlan(shards, 0, 1));
  auto const mix = stream.label_mix(0, 60);
  EXPECT_NEAR(mix.entropy, mix.ideal, 0.03 * mix.ideal);
  EXPECT_LT(mix.ideal, std::log(5.0));
  // The same rows sorted by label are badly mixed, and the figure says so.
  auto sorted_labels = atlas.labels("cell_type").codes;
  std::sort(sorted_labels.begin(), sorted_labels.end());
  BatchStream sorted(atlas, rows_of_part(atlas, Part::fit), sorted_labels, {64, 16, 2}, ShardPlan(shards, 0, 1), 5);
  EXPECT_LT(sorted.label_mix(0, 60).entropy, 0.8 * mix.ideal);
}

TEST(BatchStream, RefusesUnequalShardsAndNoCells) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "batch_stream");
  Atlas const atlas(simulated(ranks, folder));
  auto const labels = atlas.labels("cell_type").codes;
  EXPECT_THROW(BatchStream(atlas, {0, 1, 2}, labels, {63, 16, 8}, ShardPlan(4, 0, 1), 5), Failure);
  EXPECT_THROW(BatchStream(atlas, {}, labels, {64, 16, 8}, ShardPlan(4, 0, 1), 5), Failure);
}

}  // namespace
}  // namespace retort
