#include "retort/ingest/packed_rows.hpp"

#include <cstring>
#include <limits>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

namespace {

template <class Work>
decltype(auto) with_width(int bytes, Work&& work) {
  switch (bytes) {
    case 1:
      return work.template operator()<std::uint8_t>();
    case 2:
      return work.template operator()<std::uint16_t>();
    default:
      return work.template operator()<std::uint32_t>();
  }
}

template <class Narrow, class Wide>
void narrow(std::vector<Wide> const& wide, std::int64_t begin, std::int64_t end, std::uint8_t* to) {
  for (std::int64_t i = begin; i < end; ++i) {
    auto const value = static_cast<Narrow>(wide[index(i)]);
    std::memcpy(to + index(i - begin) * sizeof(Narrow), &value, sizeof(Narrow));
  }
}

// Reads element i of an array that a message holds at any alignment.
template <class Value>
Value at(std::uint8_t const* bytes, std::int64_t i) {
  Value value;
  std::memcpy(&value, bytes + index(i) * sizeof(Value), sizeof(Value));
  return value;
}

template <class Value>
void widen(std::uint8_t const* bytes, std::int64_t count, std::uint32_t* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = at<Value>(bytes, i);
}

}  // namespace

int value_bytes_for(std::uint32_t largest, ValueKind kind) {
  if (kind != ValueKind::counts || largest > std::numeric_limits<std::uint16_t>::max()) return 4;
  return largest > std::numeric_limits<std::uint8_t>::max() ? 2 : 1;
}

std::int64_t PackedRows::bytes() const {
  return static_cast<std::int64_t>(indptr.capacity() * sizeof(std::int64_t) + genes.capacity() + values.capacity());
}

PackedRows pack_rows(CheckedRows const& rows, std::span<std::uint8_t const> keep, std::int64_t gene_count,
                     ValueKind kind) {
  PackedRows packed;
  packed.gene_bytes = gene_count <= std::int64_t{1} << 16 ? 2 : 4;
  packed.value_bytes = value_bytes_for(rows.largest, kind);
  for (std::size_t row = 0; row < keep.size(); ++row)
    if (keep[row]) packed.indptr.push_back(packed.indptr.back() + rows.indptr[row + 1] - rows.indptr[row]);
  auto const entries = index(packed.indptr.back());
  packed.genes.resize(entries * index(packed.gene_bytes));
  packed.values.resize(entries * index(packed.value_bytes));
  std::uint8_t *genes = packed.genes.data(), *values = packed.values.data();
  for (std::size_t row = 0; row < keep.size(); ++row) {
    if (!keep[row]) continue;
    std::int64_t const begin = rows.indptr[row], end = rows.indptr[row + 1];
    with_width(packed.gene_bytes, [&]<class Gene>() { narrow<Gene>(rows.genes, begin, end, genes); });
    with_width(packed.value_bytes, [&]<class Value>() { narrow<Value>(rows.values, begin, end, values); });
    genes += (end - begin) * packed.gene_bytes;
    values += (end - begin) * packed.value_bytes;
  }
  return packed;
}

void append_row(PackedRows const& rows, std::int64_t row, std::int64_t position, std::span<std::int32_t const> gene_to,
                int value_bytes, std::vector<std::uint8_t>& message) {
  std::int64_t const begin = rows.indptr[index(row)];
  std::int64_t const count = rows.indptr[index(row) + 1] - begin;
  std::size_t const start = message.size();
  message.resize(start + sizeof(RowHeader) + index(count * (rows.gene_bytes + value_bytes)));
  std::uint8_t* const genes_to = message.data() + start + sizeof(RowHeader);
  std::uint8_t const* const genes = rows.genes.data() + begin * rows.gene_bytes;
  std::uint8_t const* const values = rows.values.data() + begin * rows.value_bytes;

  std::int64_t kept = 0;
  with_width(rows.gene_bytes, [&]<class Gene>() {
    for (std::int64_t i = 0; i < count; ++i) {
      std::int32_t const gene = gene_to[at<Gene>(genes, i)];
      auto const narrowed = static_cast<Gene>(gene);
      std::memcpy(genes_to + index(kept) * sizeof(Gene), &narrowed, sizeof(Gene));
      kept += gene >= 0;
    }
    // Only now is it known where the genes end, so the values have their own loop.
    std::uint8_t* const values_to = genes_to + index(kept) * sizeof(Gene);
    with_width(rows.value_bytes, [&]<class Value>() {
      with_width(value_bytes, [&]<class Sent>() {
        std::int64_t placed = 0;
        for (std::int64_t i = 0; i < count; ++i) {
          if (kept != count && gene_to[at<Gene>(genes, i)] < 0) continue;
          auto const value = static_cast<Sent>(at<Value>(values, i));
          std::memcpy(values_to + index(placed++) * sizeof(Sent), &value, sizeof(Sent));
        }
      });
    });
  });
  RowHeader const header{position, kept};
  std::memcpy(message.data() + start, &header, sizeof header);
  message.resize(start + sizeof header + index(kept * (rows.gene_bytes + value_bytes)));
}

std::int64_t entries_left(PackedRows const& rows, std::int64_t row, std::span<std::int32_t const> gene_to) {
  std::int64_t const begin = rows.indptr[index(row)], end = rows.indptr[index(row) + 1];
  return with_width(rows.gene_bytes, [&]<class Gene>() {
    std::int64_t kept = 0;
    for (std::int64_t i = begin; i < end; ++i) kept += gene_to[at<Gene>(rows.genes.data(), i)] >= 0;
    return kept;
  });
}

ArrivedRows::ArrivedRows(std::int64_t begin, std::int64_t rows, int gene_bytes, int value_bytes)
    : begin_(begin), gene_bytes_(gene_bytes), value_bytes_(value_bytes), rows_(index(rows)) {}

void ArrivedRows::take(std::vector<std::uint8_t> message) {
  auto const& kept = messages_.emplace_back(std::move(message));
  for (std::size_t i = 0; i < kept.size();) {
    RowHeader header;
    std::memcpy(&header, kept.data() + i, sizeof header);
    std::int64_t const place = header.position - begin_;
    if (place < 0 || place >= std::ssize(rows_) || rows_[index(place)].entries >= 0)
      fail(ExitCode::failed,
           "row {} of the atlas came to the wrong rank or twice (an input may have changed meanwhile). Start again",
           header.position);
    rows_[index(place)] = {kept.data() + i + sizeof header, header.entries};
    i += sizeof header + index(header.entries * (gene_bytes_ + value_bytes_));
  }
}

void ArrivedRows::require_all() const {
  for (std::size_t i = 0; i < rows_.size(); ++i)
    if (rows_[i].entries < 0)
      fail(ExitCode::failed, "row {} of the atlas never came (an input may have changed meanwhile). Start again",
           begin_ + static_cast<std::int64_t>(i));
}

std::int64_t ArrivedRows::entries(std::int64_t position) const { return rows_[index(position - begin_)].entries; }

void ArrivedRows::append_to(std::int64_t position, std::vector<std::uint32_t>& genes,
                            std::vector<std::uint32_t>& values) const {
  Row const& row = rows_[index(position - begin_)];
  std::size_t const start = genes.size();
  auto const count = index(row.entries);
  genes.resize(start + count);
  values.resize(start + count);
  with_width(gene_bytes_, [&]<class Gene>() { widen<Gene>(row.genes, row.entries, genes.data() + start); });
  std::uint8_t const* const from = row.genes + row.entries * gene_bytes_;
  with_width(value_bytes_, [&]<class Value>() { widen<Value>(from, row.entries, values.data() + start); });
}

}  // namespace retort
