#include "retort/ingest/row_scan.hpp"

#include <algorithm>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

RowScan::RowScan(CountMatrix& matrix, GeneMap const& genes, Rules const& rules, std::vector<std::uint8_t> wanted)
    : matrix_(matrix), genes_(genes), rules_(rules), kept_(std::move(wanted)) {
  for (std::int64_t row = matrix.share().begin; row < matrix.share().end;) {
    std::int64_t const end = matrix.piece_end(row, rules.piece_entries);
    pieces_.push_back({{row, end}, std::nullopt});
    row = end;
  }
}

void RowScan::load(RowRange rows) {
  matrix_.read(rows.begin, rows.end, raw_);
  fault_ = check_rows(raw_, genes_, rules_.kind, matrix_.place(), rows.begin, checked_);
}

std::span<std::uint8_t const> RowScan::kept_of(RowRange rows) const {
  return std::span(kept_).subspan(index(rows.begin - matrix_.share().begin), index(rows.size()));
}

void RowScan::run(std::int64_t& room, std::span<std::int64_t> gene_cells,
                  std::function<void(std::int64_t)> const& tick) {
  for (auto& piece : pieces_) {
    load(piece.rows);
    if (fault_) return;
    for (std::int64_t i = 0; i < piece.rows.size(); ++i) {
      auto& keep = kept_[index(piece.rows.begin - matrix_.share().begin + i)];
      if (!keep) continue;
      if (rules_.kind != ValueKind::log &&
          row_total(checked_, i, rules_.kind) < static_cast<double>(rules_.min_counts)) {
        keep = 0;
        ++too_few_;
        continue;
      }
      auto const begin = checked_.indptr[index(i)], end = checked_.indptr[index(i) + 1];
      for (auto entry = begin; entry < end; ++entry) ++gene_cells[index(checked_.genes[index(entry)])];
    }
    largest_ = std::max(largest_, checked_.largest);
    std::int64_t const at_most = checked_.indptr.back() * 8 + piece.rows.size() * 8;
    if (at_most <= room) {
      piece.packed = pack_rows(checked_, kept_of(piece.rows), rules_.gene_count, rules_.kind);
      room -= piece.packed->bytes();
    }
    tick(piece.rows.size());
  }
}

PackedRows const& RowScan::piece(std::int64_t i) {
  auto const& piece = pieces_[index(i)];
  if (piece.packed) return *piece.packed;
  load(piece.rows);
  if (fault_) fail(ExitCode::bad_input, "{} changed while it was read. Start again", matrix_.place());
  reread_ = pack_rows(checked_, kept_of(piece.rows), rules_.gene_count, rules_.kind);
  return reread_;
}

void RowScan::release(std::int64_t i) { pieces_[index(i)].packed.reset(); }

}  // namespace retort
