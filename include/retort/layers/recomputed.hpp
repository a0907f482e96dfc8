// Parts of a network whose inner results are computed a second time in the backward pass instead of being kept.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace retort {

// compute(rows, whole): results [cells, rows] of some rows of the `sliced` inputs and all of the `whole` ones; a function of them
// alone.
using Piece = std::function<at::Tensor(std::vector<at::Tensor> const& rows, std::vector<at::Tensor> const& whole)>;

// Calls `compute` for `rows_of_a_piece` rows of the sliced inputs (along dimension 0) after the other, without keeping what it
// computed; the results are joined along dimension 1. In backward each piece is computed again with gradients; those of the whole
// inputs are added over pieces in their order (Chen et al. 2016). What a piece touches should fit in the cache: then the second
// computation costs less than writing and reading the inner results of all rows would.
at::Tensor recomputed(std::int64_t rows_of_a_piece, Piece const& compute, std::vector<at::Tensor> const& sliced, std::vector<at::Tensor> const& whole);

}  // namespace retort
