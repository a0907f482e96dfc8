// Rows in few bytes: kept between the passes over a file, and sent between ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "retort/ingest/checked_rows.hpp"

namespace retort {

// The narrowest of 1, 2 and 4 bytes that holds whole counts up to `largest`; other kinds are float32.
int value_bytes_for(std::uint32_t largest, ValueKind kind);

// Rows as CheckedRows, genes in 2 or 4 bytes each and values in 1, 2 or 4.
struct PackedRows {
  std::vector<std::int64_t> indptr{0};
  int gene_bytes = 2, value_bytes = 1;
  std::vector<std::uint8_t> genes, values;
  std::int64_t rows() const { return static_cast<std::int64_t>(indptr.size()) - 1; }
  std::int64_t bytes() const;
};

// The rows whose `keep` is not 0, in as few bytes as they need; `gene_count` is that of the vocabulary.
PackedRows pack_rows(CheckedRows const& rows, std::span<std::uint8_t const> keep, std::int64_t gene_count,
                     ValueKind kind);

// A row on its way: where it belongs in the atlas and its entries, packed as the sender packed them.
struct RowHeader {
  std::int64_t position = 0, entries = 0;
};

// Appends row `row` to `message`: header, genes (`gene_bytes` of `rows`), values (`value_bytes` each, not fewer than
// those of `rows`). Genes go through `gene_to` (-1: left out), which must rise.
void append_row(PackedRows const& rows, std::int64_t row, std::int64_t position, std::span<std::int32_t const> gene_to,
                int value_bytes, std::vector<std::uint8_t>& message);

// How many entries of the row stay.
std::int64_t entries_left(PackedRows const& rows, std::int64_t row, std::span<std::int32_t const> gene_to);

// Rows of the atlas [begin, begin + rows) as they arrive, in any order.
class ArrivedRows {
 public:
  ArrivedRows(std::int64_t begin, std::int64_t rows, int gene_bytes, int value_bytes);

  // Takes over a message of any number of rows. Throws Failure(failed) where a row does not belong here or comes twice.
  void take(std::vector<std::uint8_t> message);
  // Throws Failure(failed) unless every row has come.
  void require_all() const;
  std::int64_t entries(std::int64_t position) const;
  // Appends the row's entries, widened.
  void append_to(std::int64_t position, std::vector<std::uint32_t>& genes, std::vector<std::uint32_t>& values) const;

 private:
  struct Row {
    std::uint8_t const* genes = nullptr;
    std::int64_t entries = -1;
  };
  std::int64_t begin_;
  int gene_bytes_, value_bytes_;
  std::vector<Row> rows_;
  std::vector<std::vector<std::uint8_t>> messages_;
};

}  // namespace retort
