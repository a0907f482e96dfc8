#include "retort/ingest/checked_rows.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "retort/ingest/packed_rows.hpp"
#include "retort/run/error.hpp"

using namespace retort;

namespace {

template <class Value>
void fill(Numbers& numbers, NumberType type, std::vector<Value> const& values) {
  numbers.resize(type, static_cast<std::int64_t>(values.size()));
  std::memcpy(numbers.data(), values.data(), values.size() * sizeof(Value));
}

// Three rows over four genes, entries out of order, an index twice and a stored zero.
template <class Value>
RawRows sparse(NumberType type, std::vector<Value> const& values) {
  RawRows raw;
  raw.columns = 4;
  raw.indptr = {0, 3, 3, 6};
  fill(raw.indices, NumberType::i32, std::vector<std::int32_t>{2, 0, 2, 3, 1, 0});
  fill(raw.values, type, values);
  return raw;
}

GeneMap const identity{{0, 1, 2, 3}, 4, 0, 0, true};

TEST(CheckedRows, SortsJoinsAndDropsZeros) {
  CheckedRows rows;
  auto const raw = sparse<float>(NumberType::f32, {5, 1, 300, 0, 7, 9});
  EXPECT_FALSE(check_rows(raw, identity, ValueKind::counts, "x", 0, rows));
  EXPECT_EQ(rows.indptr, (std::vector<std::int64_t>{0, 2, 2, 4}));
  EXPECT_EQ(rows.genes, (std::vector<std::int32_t>{0, 2, 0, 1}));
  EXPECT_EQ(rows.values, (std::vector<std::uint32_t>{1, 305, 9, 7}));
  EXPECT_EQ(rows.largest, 305u);
  EXPECT_EQ(row_total(rows, 0, ValueKind::counts), 306);
}

TEST(CheckedRows, EveryTypeOfNumberGivesTheSame) {
  CheckedRows expected, rows;
  check_rows(sparse<float>(NumberType::f32, {5, 1, 30, 0, 7, 9}), identity, ValueKind::counts, "x", 0, expected);
  auto const equal = [&](RawRows const& raw) {
    EXPECT_FALSE(check_rows(raw, identity, ValueKind::counts, "x", 0, rows));
    EXPECT_EQ(rows.values, expected.values);
  };
  equal(sparse<double>(NumberType::f64, {5, 1, 30, 0, 7, 9}));
  equal(sparse<std::int8_t>(NumberType::i8, {5, 1, 30, 0, 7, 9}));
  equal(sparse<std::uint16_t>(NumberType::u16, {5, 1, 30, 0, 7, 9}));
  equal(sparse<std::int64_t>(NumberType::i64, {5, 1, 30, 0, 7, 9}));
  equal(sparse<std::uint64_t>(NumberType::u64, {5, 1, 30, 0, 7, 9}));
}

TEST(CheckedRows, LargeCountsStayExact) {
  CheckedRows rows;
  check_rows(sparse<double>(NumberType::f64, {4294967295.0, 1, 0, 16777217, 4194305, 9}), identity, ValueKind::counts,
             "x", 0, rows);
  EXPECT_EQ(rows.values, (std::vector<std::uint32_t>{1, 4294967295u, 9, 4194305, 16777217}));
}

TEST(CheckedRows, NamesTheFirstFault) {
  CheckedRows rows;
  struct Case {
    float value;
    ValueKind kind;
    std::string problem;
  };
  for (auto const& [value, kind, problem] :
       {Case{-1, ValueKind::counts, "is negative"}, Case{1.5f, ValueKind::counts, "is not a whole count"},
        Case{0.25f, ValueKind::counts, "is not a whole count"}, Case{NAN, ValueKind::counts, "is not a finite number"},
        Case{NAN, ValueKind::log, "is not a finite number"},
        Case{std::numeric_limits<float>::infinity(), ValueKind::real, "is not a finite number"},
        Case{31, ValueKind::log, "is too large for a log value"}, Case{-0.5f, ValueKind::log, "is negative"},
        Case{5e9f, ValueKind::counts, "is too large for a count"}}) {
    auto const fault =
        check_rows(sparse<float>(NumberType::f32, {5, 1, 3, 2, value, 9}), identity, kind, "x", 10, rows);
    EXPECT_TRUE(fault);
    if (!fault) continue;
    EXPECT_EQ(fault->row, 12);
    EXPECT_EQ(fault->column, 1);
    EXPECT_EQ(fault->problem, problem);
  }
}

TEST(CheckedRows, GenesAreRegisteredAndSummed) {
  GeneMap const map{{1, -1, 1, 0}, 2, 1, 1, false};  // genes 0 and 2 are one symbol
  CheckedRows rows;
  check_rows(sparse<float>(NumberType::f32, {5, 1, 3, 2, 7, 9}), map, ValueKind::counts, "x", 0, rows);
  EXPECT_EQ(rows.genes, (std::vector<std::int32_t>{1, 0, 1}));
  EXPECT_EQ(rows.values, (std::vector<std::uint32_t>{9, 2, 9}));
  check_rows(sparse<float>(NumberType::f32, {1, 2, 0, 0, 0, 0}), map, ValueKind::log, "x", 0, rows);
  EXPECT_NEAR(std::bit_cast<float>(rows.values.at(0)), std::log1p(std::expm1(1.0) + std::expm1(2.0)), 1e-6);
}

TEST(CheckedRows, AnIndexPastTheGenesIsRefused) {
  CheckedRows rows;
  auto raw = sparse<float>(NumberType::f32, {5, 1, 3, 2, 7, 9});
  for (std::int32_t const index : {4, -1}) {
    raw.indices.as<std::int32_t>()[4] = index;
    EXPECT_THROW(check_rows(raw, identity, ValueKind::counts, "x", 0, rows), Failure);
  }
}

TEST(PackedRows, TravelWhole) {
  CheckedRows rows;
  check_rows(sparse<float>(NumberType::f32, {5, 1, 300, 4, 7, 9}), identity, ValueKind::counts, "x", 0, rows);
  std::vector<std::uint8_t> const keep{1, 0, 1};
  auto const packed = pack_rows(rows, keep, 4, ValueKind::counts);
  EXPECT_EQ(packed.rows(), 2);
  EXPECT_EQ(packed.value_bytes, 2);
  std::vector<std::int32_t> const gene_to{0, -1, 1, 2};  // gene 1 was too rare
  std::vector<std::uint8_t> message;
  append_row(packed, 1, 10, gene_to, 4, message);
  append_row(packed, 0, 11, gene_to, 4, message);
  EXPECT_EQ(entries_left(packed, 1, gene_to), 2);
  ArrivedRows arrived(10, 2, packed.gene_bytes, 4);
  EXPECT_THROW(arrived.require_all(), Failure);
  arrived.take(message);
  arrived.require_all();
  EXPECT_THROW(arrived.take(message), Failure);  // twice
  std::vector<std::uint32_t> genes, values;
  arrived.append_to(10, genes, values);
  arrived.append_to(11, genes, values);
  EXPECT_EQ(genes, (std::vector<std::uint32_t>{0, 2, 0, 1}));
  EXPECT_EQ(values, (std::vector<std::uint32_t>{9, 4, 1, 305}));
}

}  // namespace
