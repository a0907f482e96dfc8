// Writing a plain h5ad that leaves the project: float32 X, obs, var, obsm, uns. Small sets, one writer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace retort {

// What a set of generated or distilled cells consists of; encodings of anndata 0.8 and later.
struct CellSet {
  std::int64_t cells = 0, genes = 0;
  std::vector<float> x;                 // [cells, genes], row-major
  std::vector<std::string> gene_names;  // [genes]
  std::vector<std::string> cell_names;  // [cells], or empty: "0", "1", ...
  struct Column {
    std::string name;
    std::vector<std::string> categories;
    std::vector<std::int32_t> codes;  // [cells]
  };
  std::vector<Column> columns;  // categorical obs columns
  struct Matrix {
    std::string name;  // key in obsm
    std::int64_t width = 0;
    std::vector<float> values;  // [cells, width]
  };
  std::vector<Matrix> obsm;
};

// Writes to a pending file beside `file` and renames it, with `uns` (objects, arrays of numbers or strings, scalars) as
// nested groups. Not collective: one rank calls it. Dense X. The bytes are a function of the content alone.
// Throws Failure(cannot_write).
void write_cell_set(std::filesystem::path const& file, CellSet const& set, nlohmann::json const& uns);
// Reads it back (X dense or CSR). Throws Failure(missing_input) or Failure(bad_input).
CellSet read_cell_set(std::filesystem::path const& file);

}  // namespace retort
