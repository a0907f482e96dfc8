#include "retort/cells/libraries.hpp"

#include "retort/run/index.hpp"

namespace retort {

std::vector<double> libraries(CsrBlock const& counts) {
  std::vector<double> sums(index(counts.rows()), 0);
  for (std::size_t row = 0; row < sums.size(); ++row)
    for (auto k = index(counts.indptr[row]); k < index(counts.indptr[row + 1]); ++k) sums[row] += counts.values[k];
  return sums;
}

double mean_library(CsrBlock const& counts) {
  double sum = 0;
  for (float const value : counts.values) sum += value;
  return counts.rows() ? sum / static_cast<double>(counts.rows()) : 0;
}

}  // namespace retort
