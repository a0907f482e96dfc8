#include "retort/cells/csr_block.hpp"

#include <array>
#include <cmath>
#include <vector>

#include "retort/cells/csr_rows.hpp"
#include "retort/run/index.hpp"

namespace retort {

// Most counts of a row are small and equal ones give equal values, so a row needs few logarithms.
void log_normalise(CsrBlock& cells, double target_sum) {
  constexpr std::size_t known = 64;
  std::array<float, known> of_count{};
  for (std::size_t row = 0; row + 1 < cells.indptr.size(); ++row) {
    auto const begin = index(cells.indptr[row]), end = index(cells.indptr[row + 1]);
    double sum = 0;
    for (std::size_t k = begin; k < end; ++k) sum += static_cast<double>(cells.values[k]);
    if (sum <= 0) continue;
    double const scale = target_sum / sum;
    auto const logarithm = [&](float value) {
      return static_cast<float>(std::log1p(static_cast<double>(value) * scale));
    };
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

void append_rows(CsrBlock& to, CsrBlock const& what) {
  auto const before = to.nonzeros();
  to.genes = what.genes;
  for (std::size_t i = 1; i < what.indptr.size(); ++i) to.indptr.push_back(before + what.indptr[i]);
  to.indices.insert(to.indices.end(), what.indices.begin(), what.indices.end());
  to.values.insert(to.values.end(), what.values.begin(), what.values.end());
}

CsrBlock cut_to_rows(CsrBlock const& cells, RowRange rows) {
  auto const from = cells.indptr[index(rows.begin)], to = cells.indptr[index(rows.end)];
  CsrBlock cut;
  cut.genes = cells.genes;
  cut.indices.assign(cells.indices.begin() + from, cells.indices.begin() + to);
  cut.values.assign(cells.values.begin() + from, cells.values.begin() + to);
  for (auto row = rows.begin + 1; row <= rows.end; ++row) cut.indptr.push_back(cells.indptr[index(row)] - from);
  return cut;
}

CsrBlock chosen_rows(CsrBlock const& cells, std::span<std::int64_t const> rows) {
  CsrBlock chosen;
  chosen.genes = cells.genes;
  for (auto const row : rows) {
    auto const from = cells.indptr[index(row)], to = cells.indptr[index(row) + 1];
    chosen.indices.insert(chosen.indices.end(), cells.indices.begin() + from, cells.indices.begin() + to);
    chosen.values.insert(chosen.values.end(), cells.values.begin() + from, cells.values.begin() + to);
    chosen.indptr.push_back(std::ssize(chosen.indices));
  }
  return chosen;
}

CsrBlock cut_to_genes(CsrBlock const& cells, std::span<std::int64_t const> genes) {
  if (std::ssize(genes) == cells.genes) return cells;
  std::vector<std::int32_t> place(index(cells.genes), -1);
  for (std::size_t i = 0; i < genes.size(); ++i) place[index(genes[i])] = static_cast<std::int32_t>(i);
  CsrBlock cut;
  cut.genes = std::ssize(genes);
  for (std::size_t row = 0; row + 1 < cells.indptr.size(); ++row) {
    for (auto k = index(cells.indptr[row]); k < index(cells.indptr[row + 1]); ++k) {
      auto const to = place[index(cells.indices[k])];
      if (to < 0) continue;
      cut.indices.push_back(to);
      cut.values.push_back(cells.values[k]);
    }
    cut.indptr.push_back(std::ssize(cut.indices));
  }
  return cut;
}

}  // namespace retort
