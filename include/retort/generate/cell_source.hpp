// Where a run's new cells come from: a trained generator, which draws any of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "retort/files/h5ad_writer.hpp"
#include "retort/generate/row_noise.hpp"

namespace retort {

struct DrawnCells {
  at::Tensor x;            // [n, genes] float32
  at::Tensor latents;      // [n, width] float32 that x was decoded from, or none
  std::int64_t calls = 0;  // of the network
};

// Thrown by draw() where it was told not to go on.
struct DrawingGivenUp {};

class CellSource {
 public:
  virtual ~CellSource() = default;
  // How many are to be drawn, and of which genes.
  virtual std::int64_t cells() const = 0;
  virtual std::vector<std::string> const& gene_names() const = 0;
  // What x holds: "counts", or "log_normalised" expression (to 1e4 a cell over all genes of the atlas, log1p).
  virtual std::string values() const = 0;
  // Cells that are drawn together. Blocks begin at multiples of it, so a cell's bits are the same on any number of
  // ranks.
  virtual std::int64_t rows_of_a_block() const = 0;
  // A block of the cells 0 .. cells() - 1, of (seed, row). `goes_on` is asked before each call of the network. Throws
  // DrawingGivenUp where it says no, Failure(failed) where a number is not finite.
  virtual DrawnCells draw(GeneratedRows const& rows, std::uint64_t seed,
                          std::function<bool()> const& goes_on) const = 0;
  // obs columns of all cells, and what the file's uns tells of how they were drawn.
  virtual std::vector<CellSet::Column> columns() const = 0;
  virtual nlohmann::json facts() const = 0;
};

}  // namespace retort
