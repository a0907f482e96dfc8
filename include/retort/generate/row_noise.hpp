// The random numbers of generated cells: a cell's are its own, wherever and beside whatever it is drawn.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace retort {

// Which cells are drawn: rows first .. first + count of all that a run generates.
struct GeneratedRows {
  std::int64_t first = 0, count = 0;
};

// Standard normal numbers float32 [rows.count, width], of (seed, row, step): the same however the rows are cut into
// blocks or shared over ranks. Step 0 is a sampler's start.
at::Tensor row_noise(std::uint64_t seed, GeneratedRows const& rows, std::int64_t width, std::int64_t step);

}  // namespace retort
