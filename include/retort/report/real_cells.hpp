// The real cells that pictures show: a sample of each class, class means, and the genes that mark a class.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/cells/csr_block.hpp"

namespace retort {

// Rows of the atlas, rising: about `wanted` test cells (all cells where none is a test cell), each class by its share,
// but at least `least` cells of each, or all it has. Draws are keyed by (seed, class). Not collective.
std::vector<std::int64_t> stratified_rows(Labels const& labels, std::vector<Part> const& parts, std::int64_t wanted,
                                          std::int64_t least, std::uint64_t seed);

struct ClassMeans {
  std::int64_t classes = 0, genes = 0;
  std::vector<double> mean;         // [classes, genes]; 0 for a class without cells
  std::vector<std::int64_t> cells;  // [classes]
  std::vector<double> variance;     // [genes], of all cells together (population)
};
// Of log-normalised cells and the class of each.
ClassMeans class_means(CsrBlock const& cells, std::vector<std::int32_t> const& of_cell, std::int64_t classes);

// `each` genes a class, by class: of the 2,000 that vary most those whose class mean is furthest above the mean of all
// other cells; a gene marks one class only. Fewer where a class has no such genes; genes[c] is class c's.
std::vector<std::vector<std::int64_t>> marker_genes(ClassMeans const& means, std::int64_t each);

}  // namespace retort
