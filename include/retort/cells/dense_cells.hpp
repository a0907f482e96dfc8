// Dense cells as rows of their non-zeros.
#pragma once

#include <cstdint>
#include <span>

#include "retort/cells/csr_block.hpp"

namespace retort {

// Rows `rows` of cells [n, genes], in the order given.
CsrBlock compressed_rows(float const* cells, std::int64_t genes, std::span<std::int64_t const> rows);
// All of [n, genes].
CsrBlock compressed(std::span<float const> cells, std::int64_t genes);

}  // namespace retort
