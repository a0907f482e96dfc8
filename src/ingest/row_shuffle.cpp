#include "retort/ingest/row_shuffle.hpp"

#include <algorithm>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

namespace {

// Who writes which rows.
class Owners {
 public:
  Owners(ShufflePlan const& plan, int ranks) : plan_(plan), ranks_(ranks) {
    for (int rank = 0; rank < ranks; ++rank) begins_.push_back(plan.share(rank, ranks).begin);
  }
  int of(std::int64_t position) const {
    // The last rank that begins at or before it: ranks without rows begin where the next one does.
    return static_cast<int>(std::upper_bound(begins_.begin(), begins_.end(), position) - begins_.begin()) - 1;
  }
  bool in_window(std::int64_t position, int owner, std::int64_t window) const {
    RowRange const rows = plan_.share(owner, ranks_, window);
    return position >= rows.begin && position < rows.end;
  }

 private:
  ShufflePlan const& plan_;
  int ranks_;
  std::vector<std::int64_t> begins_;
};

}  // namespace

RowRange ShufflePlan::share(int rank, int ranks) const { return share_of(rows, rank, ranks); }

RowRange ShufflePlan::share(int rank, int ranks, std::int64_t window) const {
  RowRange const own = share(rank, ranks);
  RowRange const part = share_of(own.size(), static_cast<int>(window), static_cast<int>(windows));
  return {own.begin + part.begin, own.begin + part.end};
}

ShufflePlan plan_shuffle(std::int64_t rows, std::int64_t entries, int gene_bytes, int value_bytes, std::int64_t waiting,
                         int ranks) {
  // Beside its entries a waiting row has a header (16 bytes) and a place in the table (16).
  auto const bytes = static_cast<double>(entries) * (gene_bytes + value_bytes) + static_cast<double>(rows) * 32;
  double const a_rank = bytes / ranks * 1.1;  // a random share may be somewhat larger than the mean
  auto const windows = static_cast<std::int64_t>(a_rank / static_cast<double>(waiting)) + 1;
  return {rows, std::clamp<std::int64_t>(windows, 1, std::max<std::int64_t>(1, rows)), gene_bytes, value_bytes};
}

std::vector<std::int64_t> shuffled_row_entries(Communicator const& ranks, ShufflePlan const& plan,
                                               std::vector<ShuffledSource>& sources,
                                               std::span<std::int32_t const> gene_to) {
  Owners const owners(plan, ranks.size());
  std::vector<std::vector<std::int64_t>> to(index(ranks.size()));  // position, entries, position, ...
  ranks.together([&] {
    for (auto& source : sources) {
      std::size_t next = 0;  // of source.positions
      for (std::int64_t i = 0; i < source.scan.pieces(); ++i) {
        PackedRows const& piece = source.scan.piece(i);
        for (std::int64_t row = 0; row < piece.rows(); ++row) {
          std::int64_t const position = source.positions[next++];
          auto& message = to[index(owners.of(position))];
          message.push_back(position);
          message.push_back(entries_left(piece, row, gene_to));
        }
      }
    }
  });
  auto const received = ranks.exchange(to);
  RowRange const own = plan.share(ranks.rank(), ranks.size());
  std::vector<std::int64_t> entries(index(own.size()));
  ranks.together([&] {
    if (std::ssize(received) != 2 * own.size())
      fail(ExitCode::failed, "{} rows came where {} belong (an input may have changed meanwhile). Start again",
           received.size() / 2, own.size());
    for (std::size_t i = 0; i < received.size(); i += 2) entries[index(received[i] - own.begin)] = received[i + 1];
  });
  return entries;
}

void shuffle_rows(Communicator const& ranks, ShufflePlan const& plan, std::vector<ShuffledSource>& sources,
                  std::span<std::int32_t const> gene_to, std::function<void(RowRange, ArrivedRows const&)> const& write,
                  std::function<void(std::int64_t)> const& tick) {
  Owners const owners(plan, ranks.size());
  for (std::int64_t window = 0; window < plan.windows; ++window) {
    RowRange const own = plan.share(ranks.rank(), ranks.size(), window);
    ArrivedRows arrived(own.begin, own.size(), plan.gene_bytes, plan.value_bytes);
    for (auto& source : sources) {
      std::int64_t const rounds = ranks.max(source.scan.pieces());
      std::size_t next = 0;  // of source.positions
      for (std::int64_t round = 0; round < rounds; ++round) {
        std::vector<std::vector<std::uint8_t>> to(index(ranks.size()));
        ranks.together([&] {
          if (round >= source.scan.pieces()) return;
          PackedRows const& piece = source.scan.piece(round);
          auto const expected =
              piece.indptr.back() * (plan.gene_bytes + plan.value_bytes) / (ranks.size() * plan.windows);
          for (auto& message : to) message.reserve(index(expected));
          std::int64_t sent = 0;
          for (std::int64_t row = 0; row < piece.rows(); ++row) {
            std::int64_t const position = source.positions[next++];
            int const owner = owners.of(position);
            if (!owners.in_window(position, owner, window)) continue;
            append_row(piece, row, position, gene_to, plan.value_bytes, to[index(owner)]);
            ++sent;
          }
          if (window + 1 == plan.windows) source.scan.release(round);
          tick(sent);
        });
        auto received = ranks.exchange(to);
        to.clear();
        ranks.together([&] { arrived.take(std::move(received)); });
      }
    }
    ranks.together([&] {
      arrived.require_all();
      write(own, arrived);
    });
  }
}

}  // namespace retort
