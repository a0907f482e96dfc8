// Which cells are compared with which: the kinds that label columns part an atlas into, and the values and genes that a
// set has.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/cells/batch_stream.hpp"

namespace retort {

// The classes of a label column, or the combinations of several that the atlas has cells of.
struct Kinds {
  std::vector<std::string> columns;
  std::vector<std::string> names;    // "CD4 T", "CD4 T/stimulated", the last column's class running fastest
  std::vector<std::int32_t> of_row;  // [cells of the atlas]
  std::vector<std::int64_t> train_cells, test_cells;            // [kinds]; train: fit and held-out part
  std::vector<bool> unseen;                                     // [kinds]: no generator was trained on them
  std::map<std::vector<std::string>, std::int32_t> of_classes;  // by one class a column

  std::int64_t count() const { return std::ssize(names); }
};

// Columns as settings name them, none for the one that ingest was told. Unseen are kinds without cells in the fit part,
// and those that `left_out` names. Not collective. Throws Failure(bad_input) for a column that is not there,
// Failure(usage) for a name in `left_out` that is no kind.
Kinds kinds_of(Atlas const& atlas, std::vector<std::string> const& columns,
               std::vector<std::string> const& left_out = {});

// What the values of a set are, which of the atlas's genes it has (rising), and of which kinds that have test cells it
// has cells. Sets on different terms are compared with real cells on the same terms, and not with each other.
struct Terms {
  CellValues values = CellValues::counts;
  std::vector<std::int64_t> genes;
  std::vector<bool> covers;  // [kinds]
  bool is_labelled = true;   // false: its cells are of the covered kinds together, and nobody knows which is of which
  auto operator<=>(Terms const&) const = default;
};

struct CellsOfKinds {
  CsrBlock cells;                   // over the genes of the terms
  std::vector<std::int32_t> kinds;  // [cells]; of a set without labels whatever
};

// Rows of the atlas on these terms: expression is normalised over all genes of the atlas, as generators see it, and
// then cut to those of the terms. Not collective. Throws Failure(bad_input) where the atlas has no counts and the terms
// ask for them.
CellsOfKinds real_cells(Atlas const& atlas, Kinds const& kinds, std::span<std::int64_t const> rows, Terms const& terms);

// What retort-generate writes into uns/retort of its sets; empty where the file does not say.
struct SetOrigin {
  std::string atlas,
      encoder;  // identity of the cells that the generator was trained on; hash of the autoencoder's weights
  std::vector<std::string> columns;  // label columns that the cells were drawn for
};
// Not collective. Throws Failure(missing_input, bad_input).
SetOrigin origin_of(std::filesystem::path const& file);

struct GeneratedSet {
  Terms terms;
  CellsOfKinds cells;
};

// An h5ad of generated cells: genes of the atlas, some or all, in any order; the label columns of `kinds` in obs, or
// none of them (then uns/retort/label and classes say what the cells are of, or they are of all kinds);
// uns/retort/values says "counts" or "log_normalised" (without it: counts). Cells of kinds without test cells are left
// out. Not collective. Throws Failure(missing_input), or Failure(bad_input) that names the file and a gene the atlas
// lacks or that comes twice, a kind it lacks, another atlas that its generator was trained on, the cell and gene of a
// value that is not finite or a count below 0, or that there are no cells to compare.
GeneratedSet read_generated(std::filesystem::path const& file, Atlas const& atlas, Kinds const& kinds);

}  // namespace retort
