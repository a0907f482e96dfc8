// Groups and attributes as anndata 0.8 and later writes and reads them (anndata.readthedocs.io, on-disk format).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "retort/files/hdf5.hpp"

namespace retort {

// encoding-type and encoding-version.
void encode_as(Hdf5Object& object, std::string const& type);
// Marks the root, and adds those of layers, obs, obsm, obsp, uns, var, varm and varp that are not there, empty.
void encode_root(Hdf5Group& root);
// A matrix compressed by row: the group holds data, indices and indptr.
void encode_csr(Hdf5Group& matrix, std::int64_t rows, std::int64_t columns);
// A data frame: the group holds the columns, in this order; writes the names of the rows.
void encode_frame(Hdf5Group& frame, std::vector<std::string> const& columns, std::vector<std::string> const& row_names);
// A categorical column: the group holds `codes` (-1: none); writes the categories.
void encode_categorical(Hdf5Group& column, std::vector<std::string> const& categories);

// The type that pandas gives the codes of that many categories.
NumberType code_type(std::int64_t categories);

// Objects become groups, arrays of numbers or of texts data sets, scalars scalars; what has no such form (an array of
// objects) becomes its JSON text, and null is left out. '/' in a key becomes '_', because it parts paths.
void write_json(Hdf5Group& parent, std::string const& key, nlohmann::json const& value);

// Row names of a data frame. Throws Failure(bad_input).
std::vector<std::string> read_row_names(Hdf5Group const& frame);
// A categorical column of `rows` rows; codes are checked to lie in [lowest, categories). Throws Failure(bad_input).
struct Categorical {
  std::vector<std::string> categories;
  std::vector<std::int32_t> codes;
};
Categorical read_categorical(Hdf5Group const& frame, std::string const& name, std::int64_t rows,
                             std::int32_t lowest = 0);

}  // namespace retort
