// Sets of genes that belong together, from a GMT file, as the tokens of a transformer (TOSICA; methods 1.5.3).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace retort {

struct GeneSet {
  std::string name;
  std::vector<std::string> symbols;
};

// One set a line: name, description, symbols, with tabs between. Throws Failure(missing_input), or Failure(bad_input)
// naming file and line where a line has no name, no symbol or no tabs, or a name comes twice, and where there is no
// line. Not collective.
std::vector<GeneSet> read_gene_sets(std::filesystem::path const& file);

struct Pathways {
  std::vector<std::vector<std::int32_t>> genes;  // of each pathway: columns of a cell, rising
  bool random = false;                           // drawn, not read
  std::string origin;                            // for people: which, and why
};

// As TOSICA chooses (pre.py): of sets of at most 300 genes those with more than 4 among `gene_names` (letter case does
// not matter), and of these the 299 with the most; one more token, of all genes, makes 300. Where fewer than 30 are
// left, as for mice without symbols or without a file (`sets` empty), gene sets are drawn at random from a fixed seed,
// as many and as large as the file's would be (without one 299 of 200 to 20 genes), and no larger than there are genes.
Pathways choose_pathways(std::vector<GeneSet> const& sets, std::vector<std::string> const& gene_names);

}  // namespace retort
