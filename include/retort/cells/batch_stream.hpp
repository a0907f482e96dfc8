// Random batches of cells from an atlas whose rows were shuffled once at ingest.
#pragma once

#include <cstdint>
#include <future>
#include <span>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

struct BatchOrder {
  std::int64_t batch = 256;   // cells of a step, over all ranks
  std::int64_t block = 64;    // neighbouring rows that stay together until the window
  std::int64_t window = 256;  // blocks whose rows are shuffled among each other
};

// The order of an epoch as a function of (seed, epoch): blocks of rows are permuted, and every `window` of them
// reshuffled by rows, so that what is read together lies together (Krizhevsky's and scDataset's block sampling).
// Epochs follow each other without a break: batch b holds elements [b * batch, (b + 1) * batch) of the endless sequence
// of epochs, every element of 0 .. rows - 1 comes once an epoch, and every batch is full. Same on any number of ranks.
class EpochOrder {
 public:
  // Throws Failure(usage) where a number is not positive.
  EpochOrder(std::int64_t rows, BatchOrder const& order, std::uint64_t seed);
  // Elements [begin, end) of the endless sequence.
  std::vector<std::int64_t> elements(std::int64_t begin, std::int64_t end);

 private:
  void enter_epoch(std::int64_t epoch);
  void enter_window(std::int64_t window);

  std::int64_t rows_;
  BatchOrder order_;
  std::uint64_t seed_;
  std::int64_t epoch_ = -1, window_ = -1;
  std::vector<std::int64_t> blocks_;        // of the epoch, permuted
  std::vector<std::int64_t> window_begin_;  // where each window's elements begin in the epoch, [windows + 1]
  std::vector<std::int64_t> elements_;      // of the window, shuffled
};

// What a stream gives of a cell.
enum class CellValues { log_normalised, counts };

// Cells of neighbouring virtual shards of a batch, one shard's after the other's, equally many of each.
struct ShardBatch {
  int first = 0, shards = 1;         // which shards
  std::vector<std::int64_t> rows;    // of the atlas
  CsrBlock cells;                    // counts, or log-normalised
  std::vector<std::int32_t> labels;  // [rows]

  std::int64_t cells_of_a_shard() const { return cells.rows() / shards; }
};

// How mixed batches are: entropy of their labels in nats.
struct LabelMix {
  double entropy = 0;  // mean over batches
  double ideal = 0;    // expected of batches drawn from all rows alike
};

// Batches of some rows of an atlas (the fit part), cut into virtual shards. A rank reads its shards' rows alone, all at
// once, and the next step's are read by a thread meanwhile, with pread, where the atlas allows reads from threads.
class BatchStream {
 public:
  // `rows` rise. Throws Failure(bad_input) when there are none, Failure(usage) when a shard would be empty or shards
  // would differ in size. `labels` has one code for each row of the atlas. Keeps a reference to `atlas`.
  BatchStream(Atlas const& atlas, std::vector<std::int64_t> rows, std::vector<std::int32_t> labels,
              BatchOrder const& order, ShardPlan const& plan, std::uint64_t seed,
              CellValues values = CellValues::log_normalised);

  std::int64_t rows() const { return static_cast<std::int64_t>(rows_.size()); }
  std::int64_t cells_of_a_shard() const { return order_.batch / plan_.shards(); }
  // Rows of the atlas in shards first .. first + shards - 1 of the batch of `step`.
  std::vector<std::int64_t> rows_of(std::int64_t step, int first, int shards);
  // The cells of so many of this rank's shards; steps in rising order are read ahead. A failure of the reading thread
  // is thrown here.
  ShardBatch shards(std::int64_t step, int first, int shards);
  // Over whole batches of `steps` steps from `first`; reads nothing.
  LabelMix label_mix(std::int64_t first, std::int64_t steps);

 private:
  void read_ahead(std::int64_t step);
  void enter_step(std::int64_t step);

  Atlas const& atlas_;
  std::vector<std::int64_t> rows_;
  std::vector<std::int32_t> labels_;
  BatchOrder order_;
  ShardPlan plan_;
  EpochOrder sequence_;
  CellValues values_;
  // All of this rank's shards: of the step that is worked on, and of the next one.
  ShardBatch ready_;
  std::int64_t ready_step_ = -1, ahead_step_ = -1;
  std::future<ShardBatch> ahead_;
};

// Rows of an atlas that belong to `part`, rising.
std::vector<std::int64_t> rows_of_part(Atlas const& atlas, Part part);

}  // namespace retort
