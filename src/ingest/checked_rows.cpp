#include "retort/ingest/checked_rows.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <limits>
#include <numeric>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

namespace {

constexpr double largest_count = std::numeric_limits<std::uint32_t>::max();
constexpr int largest_small = 1 << 22;  // of float counts, so that they and their sum with 2^23 are exact in float32

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

// Whether any value is not allowed, or a float count is so large that it takes the slow way. Without branches, and with
// the answer as wide as the value, so that the compiler makes vectors of it.
template <class Value>
bool any_fault(Value const* values, std::int64_t count, ValueKind kind) {
  if constexpr (std::floating_point<Value>) {
    std::conditional_t<sizeof(Value) == 4, std::int32_t, std::int64_t> bad = 0;
    if (kind == ValueKind::counts) {
      // A small number is whole when adding the least number without a fraction, and taking it away, leaves it. NaN
      // fails every comparison.
      constexpr Value shift = sizeof(Value) == 4 ? Value(1 << 23) : Value(std::int64_t{1} << 52);
      for (std::int64_t i = 0; i < count; ++i) {
        Value const value = values[i], rounded = (value + shift) - shift;
        bad |= !(value >= 0) | !(value <= largest_small) | (rounded != value);
      }
    } else {
      auto const most =
          static_cast<Value>(kind == ValueKind::log ? log_limit : double{std::numeric_limits<float>::max()});
      for (std::int64_t i = 0; i < count; ++i) bad |= !(values[i] >= 0) | !(values[i] <= most);
    }
    return bad != 0;
  } else if (kind == ValueKind::log || sizeof(Value) == 8) {
    bool bad = false;
    for (std::int64_t i = 0; i < count; ++i) bad |= problem_of(values[i], kind) != nullptr;
    return bad;
  } else if constexpr (std::signed_integral<Value>) {
    Value all = 0;
    for (std::int64_t i = 0; i < count; ++i) all = static_cast<Value>(all | values[i]);
    return all < 0;
  }
  return false;
}

// The values as CheckedRows holds them; `small`: float counts are no larger than largest_small.
template <class Value>
void store(Value const* values, std::int64_t count, ValueKind kind, bool small, std::uint32_t* out) {
  if (kind != ValueKind::counts) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = std::bit_cast<std::uint32_t>(static_cast<float>(values[i]));
  } else if (std::floating_point<Value> && small) {
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = static_cast<std::uint32_t>(static_cast<std::int32_t>(values[i]));  // a vector instruction
  } else {
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<std::uint32_t>(static_cast<std::int64_t>(values[i]));
  }
}

// Closes the gaps of entries that do not stay: genes that the atlas does not have, and zeros. Returns how many stay.
template <class Value>
std::int64_t keep_staying(Value const* values, std::int64_t count, std::int32_t* genes, std::uint32_t* stored) {
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int32_t const gene = genes[i];
    genes[kept] = gene;
    stored[kept] = stored[i];
    kept +=
        gene >= 0 && values[i] != Value(0);  // overwritten by the next: cheaper than a branch that is hard to foresee
  }
  return kept;
}

// Compared as signed numbers, for which every processor has a vector instruction.
std::uint32_t largest_of(std::uint32_t const* values, std::int64_t count) {
  constexpr std::uint32_t sign = 1u << 31;
  auto most = std::numeric_limits<std::int32_t>::min();
  for (std::int64_t i = 0; i < count; ++i) most = std::max(most, static_cast<std::int32_t>(values[i] ^ sign));
  return static_cast<std::uint32_t>(most) ^ sign;
}

bool rises(std::int32_t const* genes, std::int64_t count) {
  std::int32_t falls = 0;
  for (std::int64_t i = 1; i < count; ++i) falls |= genes[i - 1] >= genes[i];
  return falls == 0;
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
  if (rises(rows.genes.data() + begin, static_cast<std::int64_t>(end - begin))) return end;
  std::vector<std::pair<std::int32_t, std::uint32_t>> entries;
  entries.reserve(end - begin);
  for (std::size_t i = begin; i < end; ++i) entries.emplace_back(rows.genes[i], rows.values[i]);
  // Equal genes are joined in the order of their values too, so that the sum of floats does not depend on the file's
  // order.
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
void check_indices(Index const* indices, std::int64_t count, std::int64_t columns, std::string const& place,
                   std::int64_t row) {
  // A negative index is a huge unsigned one.
  using Unsigned = std::make_unsigned_t<Index>;
  Unsigned most = 0;
  for (std::int64_t i = 0; i < count; ++i) most = std::max(most, static_cast<Unsigned>(indices[i]));
  if (count == 0 || static_cast<std::uint64_t>(most) < static_cast<std::uint64_t>(columns)) return;
  for (std::int64_t i = 0; i < count; ++i)
    if (static_cast<std::uint64_t>(static_cast<Unsigned>(indices[i])) >= static_cast<std::uint64_t>(columns))
      fail(ExitCode::bad_input, "{} has index {} in row {} (there are {} genes). Repair the file", place, indices[i],
           row, columns);
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
    bool const suspect = any_fault(values + begin, count, kind);
    if (suspect)
      for (std::int64_t i = 0; i < count; ++i)
        if (char const* problem = problem_of(values[begin + i], kind))
          return ValueFault{row_number, column(i), static_cast<double>(values[begin + i]), problem};

    std::int32_t* const row_genes = out.genes.data() + at;
    std::uint32_t* const row_values = out.values.data() + at;
    std::int32_t any_left_out = 0, zeros = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      row_genes[i] = genes.to[index(column(i))];
      any_left_out |= row_genes[i];  // the sign of -1 stays
    }
    store(values + begin, count, kind, !suspect, row_values);
    for (std::int64_t i = 0; i < count; ++i) zeros += values[begin + i] == Value(0);
    std::int64_t const kept =
        any_left_out < 0 || zeros > 0 ? keep_staying(values + begin, count, row_genes, row_values) : count;
    out.largest = std::max(out.largest, largest_of(row_values, kept));
    at = put_in_order(out, at, at + index(kept), kind);
    out.indptr.push_back(static_cast<std::int64_t>(at));
  }
  out.genes.resize(at);
  out.values.resize(at);
  return std::nullopt;
}

}  // namespace

std::string name_of(ValueKind kind) {
  switch (kind) {
    case ValueKind::counts:
      return "counts";
    case ValueKind::log:
      return "log values";
    case ValueKind::real:
      break;
  }
  return "numbers that are not whole";
}

std::optional<ValueFault> check_rows(RawRows const& raw, GeneMap const& genes, ValueKind kind, std::string const& place,
                                     std::int64_t first_row, CheckedRows& out) {
  out.indptr.assign(1, 0);
  out.largest = 0;
  auto const room = index(raw.indptr.back()) + 1;  // one more: the last overwritten entry
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
  auto const begin = rows.values.begin() + rows.indptr[index(row)];
  auto const end = rows.values.begin() + rows.indptr[index(row) + 1];
  if (kind == ValueKind::counts) return static_cast<double>(std::accumulate(begin, end, std::uint64_t{0}));
  return std::accumulate(begin, end, 0.0, [](double sum, std::uint32_t bits) {
    return sum + static_cast<double>(std::bit_cast<float>(bits));
  });
}

}  // namespace retort
