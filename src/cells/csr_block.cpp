#include "retort/cells/csr_block.hpp"

#include <array>
#include <cmath>

namespace retort {

// Most counts of a row are small and equal ones give equal values, so a row needs few logarithms.
void log_normalise(CsrBlock& cells, double target_sum) {
  constexpr std::size_t known = 64;
  std::array<float, known> of_count{};
  for (std::size_t row = 0; row + 1 < cells.indptr.size(); ++row) {
    auto const begin = static_cast<std::size_t>(cells.indptr[row]), end = static_cast<std::size_t>(cells.indptr[row + 1]);
    double sum = 0;
    for (std::size_t k = begin; k < end; ++k) sum += static_cast<double>(cells.values[k]);
    if (sum <= 0) continue;
    double const scale = target_sum / sum;
    auto const logarithm = [&](float value) { return static_cast<float>(std::log1p(static_cast<double>(value) * scale)); };
    of_count.fill(-1);
    for (std::size_t k = begin; k < end; ++k) {
      float& value = cells.values[k];
      auto const count = value >= 0 && value < static_cast<float>(known) ? static_cast<std::size_t>(value) : known;
      if (count == known || static_cast<float>(count) != value) {
        value = logarithm(value);
        continue;
      }
      if (of_count[count] < 0) of_count[count] = logarithm(value);
      value = of_count[count];
    }
  }
}

}  // namespace retort
