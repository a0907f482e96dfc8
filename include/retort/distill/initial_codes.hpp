// Where distillation starts: SPC random fit cells of each class (methods 1.4.1).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "retort/distill/distill_inputs.hpp"
#include "retort/distill/distilled_file.hpp"
#include "retort/distill/variant.hpp"

namespace retort {

// Rows of the atlas, spc a class, sorted by class, drawn from (seed, draw, class): without replacement, or with it
// where a class has fewer cells. The cells of a smaller spc are the first ones of a larger.
std::vector<std::int64_t> initial_rows(std::vector<std::vector<std::int64_t>> const& rows_by_class, std::int64_t spc,
                                       std::uint64_t seed, std::int64_t draw);

// The codes of rows `rows` of a set, whole classes of `spc`: the mean features, or the mean log-normalised expression,
// of `averaged` real cells each; `start_rows` holds them one set cell after the other.
at::Tensor initial_codes(DistillInputs const& in, Variant const& variant, std::vector<std::int64_t> const& start_rows,
                         std::int64_t averaged, RowRange rows);

// The codes that a set starts from, of any of its rows: initial_codes, grown around the smaller set of the same kind
// and draw where this run has made one in `folder`. Reads that set: call it inside Communicator::together.
std::function<at::Tensor(RowRange)> start_of_set(DistillInputs const& in, Recipe const& recipe, std::int64_t draw,
                                                 Variant const& variant, DistillOptions const& options,
                                                 std::uint64_t seed, std::filesystem::path const& folder);

// The same codes [classes * spc, width] around those of a smaller set: each class is moved so that its mean is
// `centres` [classes, width]; `stay_positive`: then what is below zero becomes zero.
at::Tensor grown_codes(at::Tensor const& codes, at::Tensor const& centres, bool stay_positive);

}  // namespace retort
