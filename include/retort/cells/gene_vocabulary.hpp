// The genes of an atlas: several files' symbols registered to one list.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace retort {

enum class GeneJoin { intersection, join_union };

// Throws Failure(usage) for anything but "intersection" or "union".
GeneJoin parse_gene_join(std::string const& text);

// The symbols of a vocabulary file, one a line (what follows a tab or comma is left out; blank lines are skipped).
// Throws Failure(missing_input), or Failure(bad_input) naming file, line and symbol where one comes twice.
std::vector<std::string> read_vocabulary(std::filesystem::path const& file);

// How one file's genes map to the atlas's.
struct GeneMap {
  std::vector<std::int32_t> to;  // [genes of the file]: gene of the atlas, or -1
  std::int64_t found = 0;        // genes of the atlas that the file has
  std::int64_t duplicates = 0;   // genes of the file that are summed into an earlier one of the same symbol
  std::int64_t dropped = 0;      // genes of the file that the atlas does not have
  bool rises = true;             // `to` without -1 rises strictly, so rows that are in order stay in order
};

struct GeneVocabulary {
  std::vector<std::string> names;  // genes of the atlas, before the filter by cells
  std::vector<GeneMap> maps;       // one a file
};

// `fixed` empty: the union or the intersection of the files' symbols, in the order in which the first file (then the
// next) has them; otherwise `fixed`, in its order, as SCimilarity aligns (align_dataset). `files` are for messages
// only. Throws Failure(bad_input) when no gene is left.
GeneVocabulary register_genes(std::vector<std::vector<std::string>> const& genes, GeneJoin join,
                              std::vector<std::string> const& fixed, std::vector<std::filesystem::path> const& files);

}  // namespace retort
