// The features of all cells, computed once: an h5ad with obsm/X_retort and the atlas's obs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/ranks/share.hpp"

namespace retort {

// Collective: every rank writes the features of its rows, [rows.size(), width], to one file that anndata opens;
// `encoder` names the weights they came from. Throws Failure(cannot_write).
void write_features(Communicator const& ranks, std::filesystem::path const& file, Atlas const& atlas, RowRange rows,
                    std::span<float const> values, std::int64_t width, std::string const& encoder);

struct Features {
  std::int64_t rows = 0, width = 0;
  std::vector<float> values;  // [rows, width], in atlas order
  std::string encoder;        // hash of the weights they came from
  std::string atlas;          // identity of the atlas
};

// Reads rows [rows.begin, rows.end); {0, -1} means all. Not collective. Throws Failure(missing_input, bad_input).
Features read_features(std::filesystem::path const& file, RowRange rows = {0, -1});

// Throws Failure(bad_input) where features of `file` are not those of this atlas's cells.
void require_features_of(Atlas const& atlas, std::filesystem::path const& file, Features const& features);

}  // namespace retort
