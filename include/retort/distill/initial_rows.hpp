// Where distillation starts: SPC random fit cells of each class (methods 1.4.1).
#pragma once

#include <cstdint>
#include <vector>

namespace retort {

// Rows of the atlas, spc a class, sorted by class, drawn from (seed, draw, class): without replacement, or with it where a
// class has fewer cells. The cells of a smaller spc are the first ones of a larger.
std::vector<std::int64_t> initial_rows(std::vector<std::vector<std::int64_t>> const& rows_by_class, std::int64_t spc, std::uint64_t seed,
                                       std::int64_t draw);

}  // namespace retort
