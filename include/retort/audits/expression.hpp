// Statistics of every gene, class by class, of the real cells and of a set.
#pragma once

#include <functional>
#include <span>

#include "retort/audits/gene_statistics.hpp"
#include "retort/cells/csr_block.hpp"
#include "retort/evaluate/distilled_sets.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

struct Expression {
  GeneStatistics genes;
  float smallest = 0;                  // of the values that are not zero; infinity where there are none
  std::vector<std::int32_t> detected;  // [cells]: genes that are not zero
  std::vector<std::int32_t> labels;    // [cells]
};

// Log-normalised rows, in the order given.
using ReadChosenRows = std::function<CsrBlock(std::span<std::int64_t const>)>;

// Collective: of the rows `rows` with labels [rows]. Ranks read shares of the rows and send each value to the rank that
// has its gene, which sorts it; so many genes at a time that a rank holds at most `most_values` values, twice 12 bytes
// each, however dense the cells are (the atlas is read once for each such block of genes). The same bits on any number
// of ranks.
Expression expression_of(Communicator const& ranks, ReadChosenRows const& read, std::span<std::int64_t const> rows,
                         std::vector<std::int32_t> labels, std::int64_t classes, std::int64_t genes,
                         std::int64_t most_values = std::int64_t{1} << 26);

// Of a set's dense cells. Not collective.
Expression expression_of(DistilledSet const& set, std::int64_t classes);

}  // namespace retort
