// Features of some cells as a tensor.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <span>

namespace retort {

// Features of any rows of a feature file, [rows, width], read in runs of blocks so that memory stays near the result.
// Throws Failure(missing_input, bad_input). Not collective.
at::Tensor read_feature_rows(std::filesystem::path const& file, std::span<std::int64_t const> rows);

}  // namespace retort
