#include "retort/cells/batch_stream.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "retort/cells/csr_rows.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

std::size_t at(std::int64_t i) { return index(i); }

double entropy(std::vector<std::int64_t> const& counts) {
  auto const total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  double sum = 0;
  for (auto const count : counts) {
    if (count > 0) sum -= static_cast<double>(count) / total * std::log(static_cast<double>(count) / total);
  }
  return sum;
}

// The expected entropy of `batch` cells drawn alike from a population: sum over classes of E[-(k/b) log(k/b)], k
// binomial.
double expected_entropy(std::vector<std::int64_t> const& population, std::int64_t batch) {
  auto const total = static_cast<double>(std::accumulate(population.begin(), population.end(), std::int64_t{0}));
  auto const b = static_cast<double>(batch);
  double sum = 0;
  for (auto const count : population) {
    double const share = static_cast<double>(count) / total;
    if (share <= 0 || share >= 1) continue;
    for (std::int64_t k = 1; k < batch; ++k) {
      auto const drawn = static_cast<double>(k);
      double const log_chance = std::lgamma(b + 1) - std::lgamma(drawn + 1) - std::lgamma(b - drawn + 1) +
                                drawn * std::log(share) + (b - drawn) * std::log1p(-share);
      sum -= std::exp(log_chance) * drawn / b * std::log(drawn / b);
    }
  }
  return sum;
}

}  // namespace

EpochOrder::EpochOrder(std::int64_t rows, BatchOrder const& order, std::uint64_t seed)
    : rows_(rows), order_(order), seed_(seed) {
  if (rows < 1 || order.batch < 1 || order.block < 1 || order.window < 1) {
    fail(ExitCode::usage,
         "batches of {} of {} rows in blocks of {} and windows of {} cannot be made. Give numbers above 0", order.batch,
         rows, order.block, order.window);
  }
}

void EpochOrder::enter_epoch(std::int64_t epoch) {
  epoch_ = epoch;
  window_ = -1;
  auto const block_count = (rows_ + order_.block - 1) / order_.block;
  blocks_.resize(at(block_count));
  std::iota(blocks_.begin(), blocks_.end(), std::int64_t{0});
  Random(seed_, purpose::epoch, static_cast<std::uint64_t>(epoch)).shuffle(blocks_);
  window_begin_.assign(1, 0);
  for (std::int64_t first = 0; first < block_count; first += order_.window) {
    auto const last = std::min(block_count, first + order_.window);
    auto size = (last - first) * order_.block;
    for (auto b = first; b < last; ++b) {
      if (blocks_[at(b)] == block_count - 1)
        size -= block_count * order_.block - rows_;  // the last block of rows may be short
    }
    window_begin_.push_back(window_begin_.back() + size);
  }
}

void EpochOrder::enter_window(std::int64_t window) {
  window_ = window;
  elements_.clear();
  auto const last = std::min(static_cast<std::int64_t>(blocks_.size()), (window + 1) * order_.window);
  for (auto b = window * order_.window; b < last; ++b) {
    auto const begin = blocks_[at(b)] * order_.block;
    for (auto element = begin; element < std::min(rows_, begin + order_.block); ++element) elements_.push_back(element);
  }
  Random(seed_, purpose::epoch, static_cast<std::uint64_t>(epoch_), static_cast<std::uint32_t>(window + 1))
      .shuffle(elements_);
}

std::vector<std::int64_t> EpochOrder::elements(std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> out;
  out.reserve(at(end - begin));
  while (begin < end) {
    auto const place = begin % rows_;
    if (begin / rows_ != epoch_) enter_epoch(begin / rows_);
    auto const window = std::upper_bound(window_begin_.begin(), window_begin_.end(), place) - window_begin_.begin() - 1;
    if (window != window_) enter_window(window);
    auto const first = place - window_begin_[at(window)];
    auto const count = std::min(end - begin, static_cast<std::int64_t>(elements_.size()) - first);
    out.insert(out.end(), elements_.begin() + first, elements_.begin() + first + count);
    begin += count;
  }
  return out;
}

BatchStream::BatchStream(Atlas const& atlas, std::vector<std::int64_t> rows, std::vector<std::int32_t> labels,
                         BatchOrder const& order, ShardPlan const& plan, std::uint64_t seed, CellValues values)
    : atlas_(atlas),
      rows_(std::move(rows)),
      labels_(std::move(labels)),
      order_(order),
      plan_(plan),
      sequence_(std::max<std::int64_t>(1, static_cast<std::int64_t>(rows_.size())), order, seed),
      values_(values) {
  if (rows_.empty())
    fail(ExitCode::bad_input, "'{}' has no cell to train on (every cell is held out or for testing)",
         atlas.file().string());
  if (order.batch % plan.shards() != 0) {
    fail(ExitCode::usage,
         "a batch of {} cells cannot be cut into {} equal shards. Give a multiple of {}, or fewer run.shards",
         order.batch, plan.shards(), plan.shards());
  }
}

std::vector<std::int64_t> BatchStream::rows_of(std::int64_t step, int first, int shards) {
  auto const begin = step * order_.batch + first * cells_of_a_shard();
  auto rows = sequence_.elements(begin, begin + shards * cells_of_a_shard());
  for (auto& row : rows) row = rows_[at(row)];
  return rows;
}

// The thread is told all it needs by value, so that the stream may move meanwhile.
void BatchStream::read_ahead(std::int64_t step) {
  int const first = plan_.begin(), shards = plan_.end() - first;
  ahead_step_ = step;
  ahead_ =
      std::async(atlas_.reads_from_threads() ? std::launch::async : std::launch::deferred,
                 [&atlas = atlas_, values = values_, first, shards, rows = rows_of(step, first, shards)]() mutable {
                   auto cells = values == CellValues::counts ? atlas.read(rows) : atlas.read_log(rows);
                   return ShardBatch{first, shards, std::move(rows), std::move(cells), {}};
                 });
}

void BatchStream::enter_step(std::int64_t step) {
  if (!ahead_.valid() || ahead_step_ != step) {
    if (ahead_.valid()) ahead_.get();
    read_ahead(step);
  }
  ready_ = ahead_.get();
  for (auto const row : ready_.rows) ready_.labels.push_back(labels_[at(row)]);
  ready_step_ = step;
  read_ahead(step + 1);
}

ShardBatch BatchStream::shards(std::int64_t step, int first, int shards) {
  if (shards < 1 || first < plan_.begin() || first + shards > plan_.end())
    fail(ExitCode::failed, "{} shards from {} of step {} are not all this rank's", shards, first, step);
  if (step != ready_step_) enter_step(step);
  if (shards == ready_.shards) {
    ready_step_ = -1;
    return std::move(ready_);
  }
  RowRange const part{(first - ready_.first) * cells_of_a_shard(),
                      (first - ready_.first + shards) * cells_of_a_shard()};
  return {first,
          shards,
          {ready_.rows.begin() + part.begin, ready_.rows.begin() + part.end},
          cut_to_rows(ready_.cells, part),
          {ready_.labels.begin() + part.begin, ready_.labels.begin() + part.end}};
}

LabelMix BatchStream::label_mix(std::int64_t first, std::int64_t steps) {
  auto const classes = at(*std::max_element(labels_.begin(), labels_.end()) + 1);
  std::vector<std::int64_t> population(classes);
  for (auto const row : rows_) ++population[at(labels_[at(row)])];
  LabelMix mix{0, expected_entropy(population, order_.batch)};
  EpochOrder sequence = sequence_;
  for (auto step = first; step < first + steps; ++step) {
    std::vector<std::int64_t> counts(classes);
    for (auto const element : sequence.elements(step * order_.batch, (step + 1) * order_.batch))
      ++counts[at(labels_[at(rows_[at(element)])])];
    mix.entropy += entropy(counts) / static_cast<double>(steps);
  }
  return mix;
}

std::vector<std::int64_t> rows_of_part(Atlas const& atlas, Part part) {
  std::vector<std::int64_t> rows;
  auto const& parts = atlas.parts();
  for (std::size_t row = 0; row < parts.size(); ++row) {
    if (parts[row] == part) rows.push_back(static_cast<std::int64_t>(row));
  }
  return rows;
}

}  // namespace retort
