// Cells put behind each other, cut to some of them, and to some of their genes.
#pragma once

#include <cstdint>
#include <span>

#include "retort/cells/csr_block.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// Rows of the same genes, behind those of `to`; an empty `to` takes the number of genes.
void append_rows(CsrBlock& to, CsrBlock const& what);

// Cells `rows` of these.
CsrBlock cut_to_rows(CsrBlock const& cells, RowRange rows);

// Cells `rows` of these, in that order.
CsrBlock chosen_rows(CsrBlock const& cells, std::span<std::int64_t const> rows);

// Columns `genes` (rising) of all rows, in their order.
CsrBlock cut_to_genes(CsrBlock const& cells, std::span<std::int64_t const> genes);

}  // namespace retort
