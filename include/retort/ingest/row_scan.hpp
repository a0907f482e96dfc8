// The passes over one input matrix: a rank's share of rows, piece by piece, checked, registered and filtered.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "retort/cells/gene_vocabulary.hpp"
#include "retort/ingest/count_matrix.hpp"
#include "retort/ingest/packed_rows.hpp"

namespace retort {

// The first pass looks at every value once and keeps packed rows as long as there is room; the second asks for the
// pieces again, which are read anew where they were not kept. Not collective: faults are thrown, or found(), on one
// rank alone.
class RowScan {
 public:
  struct Rules {
    ValueKind kind = ValueKind::counts;
    std::int64_t gene_count = 0;     // of the vocabulary
    std::int64_t min_counts = 0;     // a cell; of log values none is asked
    std::int64_t piece_entries = 0;  // a piece has at most so many, or one row
  };
  // `matrix` and `genes` must outlive it; `wanted[i]` is 0 where row i of the share is dropped whatever it holds.
  RowScan(CountMatrix& matrix, GeneMap const& genes, Rules const& rules, std::vector<std::uint8_t> wanted);

  // The first pass. `room` is how many bytes may be kept, and becomes what is left; `gene_cells` [gene_count] is
  // increased by the cells that have each gene; `tick` is told how many rows were read. Ends at the first fault.
  void run(std::int64_t& room, std::span<std::int64_t> gene_cells, std::function<void(std::int64_t)> const& tick);

  std::optional<ValueFault> const& fault() const { return fault_; }
  // One a row of the share: whether it stays.
  std::vector<std::uint8_t> const& kept() const { return kept_; }
  // Wanted rows that had too few counts.
  std::int64_t too_few() const { return too_few_; }
  std::uint32_t largest() const { return largest_; }

  std::int64_t pieces() const { return static_cast<std::int64_t>(pieces_.size()); }
  // The rows of a piece that stay, in order. Valid until the next call.
  PackedRows const& piece(std::int64_t i);
  // Forgets the rows kept for a piece: it will not be asked for again.
  void release(std::int64_t i);

 private:
  struct Piece {
    RowRange rows;  // of the file
    std::optional<PackedRows> packed;
  };
  // Reads, checks and registers a piece into checked_.
  void load(RowRange rows);
  std::span<std::uint8_t const> kept_of(RowRange rows) const;

  CountMatrix& matrix_;
  GeneMap const& genes_;
  Rules rules_;
  std::vector<std::uint8_t> kept_;
  std::vector<Piece> pieces_;
  std::optional<ValueFault> fault_;
  std::int64_t too_few_ = 0;
  std::uint32_t largest_ = 0;
  RawRows raw_;
  CheckedRows checked_;
  PackedRows reread_;
};

}  // namespace retort
