// How many counts cells have.
#pragma once

#include <vector>

#include "retort/cells/csr_block.hpp"

namespace retort {

// The sum of each row, float64, non-zeros added in their order: [rows].
std::vector<double> libraries(CsrBlock const& counts);
// Their mean; 0 without cells.
double mean_library(CsrBlock const& counts);

}  // namespace retort
