#include "retort/report/real_cells.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {

std::vector<std::int64_t> stratified_rows(Labels const& labels, std::vector<Part> const& parts, std::int64_t wanted,
                                          std::int64_t least, std::uint64_t seed) {
  bool const has_test = std::find(parts.begin(), parts.end(), Part::test) != parts.end();
  std::vector<std::vector<std::int64_t>> of_class(index(labels.classes()));
  std::int64_t all = 0;
  for (std::size_t row = 0; row < parts.size(); ++row) {
    if (has_test && parts[row] != Part::test) continue;
    of_class[index(labels.codes[row])].push_back(static_cast<std::int64_t>(row));
    ++all;
  }
  std::vector<std::int64_t> chosen;
  for (std::size_t c = 0; c < of_class.size(); ++c) {
    auto& rows = of_class[c];
    auto const share =
        static_cast<std::int64_t>(std::llround(static_cast<double>(wanted) * static_cast<double>(rows.size()) /
                                               static_cast<double>(std::max<std::int64_t>(1, all))));
    auto const size = std::min(std::ssize(rows), std::max(share, least));
    Random(seed, purpose::report, static_cast<std::uint64_t>(c)).shuffle(rows);
    chosen.insert(chosen.end(), rows.begin(), rows.begin() + size);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

ClassMeans class_means(CsrBlock const& cells, std::vector<std::int32_t> const& of_cell, std::int64_t classes) {
  auto const genes = index(cells.genes);
  ClassMeans means{classes, cells.genes, std::vector<double>(index(classes) * genes),
                   std::vector<std::int64_t>(index(classes)), std::vector<double>(genes)};
  std::vector<double> total(genes);
  for (std::size_t row = 0; row < of_cell.size(); ++row) {
    auto const of = index(of_cell[row]);
    ++means.cells[of];
    for (auto i = index(cells.indptr[row]); i < index(cells.indptr[row + 1]); ++i) {
      auto const gene = index(cells.indices[i]);
      double const value = static_cast<double>(cells.values[i]);
      means.mean[of * genes + gene] += value;
      total[gene] += value;
      means.variance[gene] += value * value;
    }
  }
  double const count = std::max<double>(1, static_cast<double>(of_cell.size()));
  for (std::size_t g = 0; g < genes; ++g)
    means.variance[g] = std::max(0.0, means.variance[g] / count - total[g] / count * total[g] / count);
  for (std::size_t c = 0; c < means.cells.size(); ++c)
    for (std::size_t g = 0; g < genes && means.cells[c]; ++g)
      means.mean[c * genes + g] /= static_cast<double>(means.cells[c]);
  return means;
}

std::vector<std::vector<std::int64_t>> marker_genes(ClassMeans const& means, std::int64_t each) {
  auto const genes = index(means.genes);
  std::vector<std::size_t> varying(genes);
  std::iota(varying.begin(), varying.end(), std::size_t{0});
  std::stable_sort(varying.begin(), varying.end(),
                   [&](auto a, auto b) { return means.variance[a] > means.variance[b]; });
  varying.resize(std::min<std::size_t>(genes, 2000));
  std::vector<double> total(genes);
  std::int64_t cells = 0;
  for (std::size_t c = 0; c < means.cells.size(); ++c) {
    cells += means.cells[c];
    for (std::size_t g = 0; g < genes; ++g) total[g] += means.mean[c * genes + g] * static_cast<double>(means.cells[c]);
  }
  std::vector<std::vector<std::int64_t>> markers(means.cells.size());
  std::set<std::size_t> taken;
  for (std::size_t c = 0; c < means.cells.size(); ++c) {
    if (!means.cells[c]) continue;
    double const others = std::max<double>(1, static_cast<double>(cells - means.cells[c]));
    auto const above = [&](std::size_t g) {
      return means.mean[c * genes + g] -
             (total[g] - means.mean[c * genes + g] * static_cast<double>(means.cells[c])) / others;
    };
    auto best = varying;
    std::stable_sort(best.begin(), best.end(), [&](auto a, auto b) { return above(a) > above(b); });
    for (std::size_t const g : best) {
      if (std::ssize(markers[c]) == each || !(above(g) > 0)) break;
      if (taken.insert(g).second) markers[c].push_back(static_cast<std::int64_t>(g));
    }
  }
  return markers;
}

}  // namespace retort
