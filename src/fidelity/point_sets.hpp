// What every distance asks of its two sets, and the distances between their rows a block at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace retort {

struct PointSets {
  at::Tensor real, generated;  // float64 [n, width] and [m, width], contiguous, finite
};

// One set alone, as float64. Throws Failure(bad_input) like checked_sets().
at::Tensor checked_set(std::string const& measure, at::Tensor const& cells);

// Throws Failure(bad_input) that names the measure, the set and the value: what is not a matrix of float32 or float64
// on the CPU, fewer rows than `least`, different widths, a value that is not finite.
PointSets checked_sets(std::string const& measure, at::Tensor const& real, at::Tensor const& generated,
                       std::int64_t least = 1);

// The same, and as many real as generated rows: for measures that pair them.
PointSets checked_pairs(std::string const& measure, at::Tensor const& real, at::Tensor const& generated);

// Rows whose distances to a whole set are held at once. Fixed, so that the same cells give the same bits.
inline constexpr std::int64_t rows_per_block = 256;

// Calls visit(begin, rows of a [begin, begin + at most rows_per_block)).
template <class Visit>
void for_each_block(at::Tensor const& rows, Visit const& visit) {
  for (std::int64_t begin = 0; begin < rows.size(0); begin += rows_per_block)
    visit(begin, rows.narrow(0, begin, std::min(rows_per_block, rows.size(0) - begin)));
}

// Distances of the norm `p`, [rows of a, rows of b]: from differences, not from |a|^2 + |b|^2 - 2ab, so that equal rows
// are exactly 0 apart.
at::Tensor distances_between(at::Tensor const& a, at::Tensor const& b, double p = 2);

}  // namespace retort
