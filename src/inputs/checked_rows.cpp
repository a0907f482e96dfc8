#include "retort/inputs/checked_rows.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <limits>
#include <numeric>

#include "retort/run/error.hpp"

namespace retort {

namespace {

constexpr double largest_count = std::numeric_limits<std::uint32_t>::max();

template <class Value>
char const* problem_of(Value value, ValueKind kind) {
  auto const number = static_cast<double>(value);
  if (!std::isfinite(number)) return "is not a finite number";
  if (number < 0) return "is negative";
  if (kind == ValueKind::counts && number != std::floor(number)) return "is not a whole count";
  if (kind == ValueKind::counts && number > largest_count) return "is too large for a count";
  if (kind == ValueKind::log && number > log_limit) return "is too large for a log value";
  if (kind == ValueKind::real && number > std::numeric_limits<float>::max()) return "is too large for float32";
  return nullptr;
}

// Whether any value is not allowed. Without branches, so that the compiler makes vectors of it.
template <class Value>
bool any_fault(Value const* values, std::int64_t count, ValueKind kind) {
  bool bad = false;
  if constexpr (std::floating_point<Value>) {
    if (kind == ValueKind::counts) {
      // A small number is whole when adding the least number without a fraction, and taking it away, leaves it. NaN fails
      // every comparison; larger counts are rare and take the slow way.
      constexpr Value shift = sizeof(Value) == 4 ? Value(1 << 23) : Value(std::int64_t{1} << 52);
      for (std::int64_t i = 0; i < count; ++i) {
        Value const value = values[i], rounded = (value + shift) - shift;
        bad |= !(value >= 0) | !(value <= Value(1 << 22)) | (rounded != value);
      }
    } else {
      auto const most = static_cast<Value>(kind == ValueKind::log ? log_limit : double{std::numeric_limits<float>::max()});
      for (std::int64_t i = 0; i < count; ++i) bad |= !(values[i] >= 0) | !(values[i] <= most);
    }
  } else if (kind == ValueKind::log || sizeof(Value) == 8) {
    for (std::int64_t i = 0; i < count; ++i) bad |= problem_of(values[i], kind) != nullptr;
  } else if constexpr (std::signed_integral<Value>) {
    Value all = 0;
    for (std::int64_t i = 0; i < count; ++i) all = static_cast<Value>(all | values[i]);
    bad = all < 0;
  }
  return bad;
}

template <class Value>
std::uint32_t stored(Value value, ValueKind kind) {
  if (kind != ValueKind::counts) return std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if constexpr (std::floating_point<Value>)
    return value < Value(1 << 22) ? static_cast<std::uint32_t>(static_cast<std::int32_t>(value))  // a vector instruction
                                  : static_cast<std::uint32_t>(static_cast<std::int64_t>(value));
  else
    return static_cast<std::uint32_t>(value);
}

std::uint32_t joined(std::uint32_t a, std::uint32_t b, ValueKind kind) {
  if (kind == ValueKind::counts) {
    std::uint64_t const sum = std::uint64_t{a} + b;
    if (sum > std::numeric_limits<std::uint32_t>::max())
      fail(ExitCode::bad_input, "two genes of one symbol sum to {} (a count has 32 bits). Rename one of them", sum);
    return static_cast<std::uint32_t>(sum);
  }
  auto const x = static_cast<double>(std::bit_cast<float>(a)), y = static_cast<double>(std::bit_cast<float>(b));
  double const sum = kind == ValueKind::log ? std::log1p(std::expm1(x) + std::expm1(y)) : x + y;
  return std::bit_cast<std::uint32_t>(static_cast<float>(sum));
}

// Puts the entries from `begin` on in the order of their genes and joins those of the same gene; returns the new end.
std::size_t put_in_order(CheckedRows& rows, std::size_t begin, std::size_t end, ValueKind kind) {
  bool rises = true;
  for (std::size_t i = begin + 1; i < end; ++i) rises &= rows.genes[i - 1] < rows.genes[i];
  if (rises) return end;
  std::vector<std::pair<std::int32_t, std::uint32_t>> entries;
  entries.reserve(end - begin);
  for (std::size_t i = begin; i < end; ++i) entries.emplace_back(rows.genes[i], rows.values[i]);
  // Equal genes are joined in the order of their values too, so that the sum of floats does not depend on the file's order.
  std::sort(entries.begin(), entries.end());
  std::size_t at = begin;
  for (auto const& [gene, value] : entries) {
    if (at > begin && rows.genes[at - 1] == gene) {
      rows.values[at - 1] = joined(rows.values[at - 1], value, kind);
      rows.largest = std::max(rows.largest, rows.values[at - 1]);
    } else {
      rows.genes[at] = gene;
      rows.values[at++] = value;
    }
  }
  return at;
}

template <class Index>
void check_indices(Index const* indices, std::int64_t count, std::int64_t columns, std::string const& place, std::int64_t row) {
  // A negative index is a huge unsigned one.
  using Unsigned = std::make_unsigned_t<Index>;
  Unsigned most = 0;
  for (std::int64_t i = 0; i < count; ++i) most = std::max(most, static_cast<Unsigned>(indices[i]));
  if (count == 0 || static_cast<std::uint64_t>(most) < static_cast<std::uint64_t>(columns)) return;
  for (std::int64_t i = 0; i < count; ++i)
    if (static_cast<std::uint64_t>(static_cast<Unsigned>(indices[i])) >= static_cast<std::uint64_t>(columns))
      fail(ExitCode::bad_input, "{} has index {} in row {} (there are {} genes). Repair the file", place, indices[i], row, columns);
}

template <class Index, class Value>
std::optional<ValueFault> check(RawRows const& raw, GeneMap const& genes, ValueKind kind, std::string const& place,
                                std::int64_t first_row, CheckedRows& out) {
  Index const* indices = raw.dense ? nullptr : raw.indices.as<Index>().data();
  Value const* values = raw.values.as<Value>().data();
  std::size_t at = 0;
  for (std::size_t row = 0; row + 1 < raw.indptr.size(); ++row) {
    std::int64_t const begin = raw.indptr[row], count = raw.indptr[row + 1] - begin;
    std::int64_t const row_number = first_row + static_cast<std::int64_t>(row);
    auto const column = [&](std::int64_t i) { return indices ? static_cast<std::int64_t>(indices[begin + i]) : i; };
    if (indices) check_indices(indices + begin, count, raw.columns, place, row_number);
    if (any_fault(values + begin, count, kind))
      for (std::int64_t i = 0; i < count; ++i)
        if (char const* problem = problem_of(values[begin + i], kind))
          return ValueFault{row_number, column(i), static_cast<double>(values[begin + i]), problem};

    std::size_t const row_begin = at;
    std::uint32_t largest = out.largest;
    for (std::int64_t i = 0; i < count; ++i) {
      std::int32_t const gene = genes.to[static_cast<std::size_t>(column(i))];
      Value const value = values[begin + i];
      out.genes[at] = gene;
      out.values[at] = stored(value, kind);
      // An entry that does not stay is overwritten by the next: cheaper than a branch that is hard to foresee.
      bool const stays = gene >= 0 && value != Value(0);
      largest = std::max(largest, stays ? out.values[at] : 0u);
      at += stays;
    }
    out.largest = largest;
    at = put_in_order(out, row_begin, at, kind);
    out.indptr.push_back(static_cast<std::int64_t>(at));
  }
  out.genes.resize(at);
  out.values.resize(at);
  return std::nullopt;
}

}  // namespace

std::string name_of(ValueKind kind) {
  switch (kind) {
    case ValueKind::counts: return "counts";
    case ValueKind::log: return "log values";
    case ValueKind::real: break;
  }
  return "numbers that are not whole";
}

std::optional<ValueFault> check_rows(RawRows const& raw, GeneMap const& genes, ValueKind kind, std::string const& place,
                                     std::int64_t first_row, CheckedRows& out) {
  out.indptr.assign(1, 0);
  out.largest = 0;
  auto const room = static_cast<std::size_t>(raw.indptr.back()) + 1;  // one more: the last overwritten entry
  out.genes.resize(room);
  out.values.resize(room);
  return with_number_type(raw.values.type(), [&]<class Value>() {
    if (raw.dense || raw.indices.type() == NumberType::i32)
      return check<std::int32_t, Value>(raw, genes, kind, place, first_row, out);
    return with_number_type(raw.indices.type(), [&]<class Index>() -> std::optional<ValueFault> {
      if constexpr (std::integral<Index>)
        return check<Index, Value>(raw, genes, kind, place, first_row, out);
      else
        fail(ExitCode::bad_input, "{} has indices that are not integers. Repair the file", place);
    });
  });
}

double row_total(CheckedRows const& rows, std::int64_t row, ValueKind kind) {
  auto const begin = rows.values.begin() + rows.indptr[static_cast<std::size_t>(row)];
  auto const end = rows.values.begin() + rows.indptr[static_cast<std::size_t>(row) + 1];
  if (kind == ValueKind::counts) return static_cast<double>(std::accumulate(begin, end, std::uint64_t{0}));
  return std::accumulate(begin, end, 0.0, [](double sum, std::uint32_t bits) { return sum + static_cast<double>(std::bit_cast<float>(bits)); });
}

}  // namespace retort
