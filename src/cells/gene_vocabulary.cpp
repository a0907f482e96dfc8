#include "retort/cells/gene_vocabulary.hpp"

#include <fstream>
#include <unordered_map>
#include <unordered_set>

#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {

namespace {

std::vector<std::string> joined(std::vector<std::vector<std::string>> const& genes, GeneJoin join) {
  std::unordered_map<std::string, std::size_t> files_with;  // symbol -> how many files, in turn, have it
  for (std::size_t file = 0; file < genes.size(); ++file)
    for (auto const& gene : genes[file]) {
      auto& count = files_with.try_emplace(gene, 0).first->second;
      if (join == GeneJoin::join_union)
        count = genes.size();
      else if (count == file)
        count = file + 1;  // a second copy in the same file leaves the count as it is
    }
  std::vector<std::string> names;
  for (auto const& file : genes)
    for (auto const& gene : file) {
      auto& count = files_with[gene];
      if (count != genes.size()) continue;
      count = 0;  // taken
      names.push_back(gene);
    }
  return names;
}

GeneMap map_genes(std::vector<std::string> const& genes, std::unordered_map<std::string, std::int32_t> const& places) {
  GeneMap map;
  map.to.reserve(genes.size());
  std::unordered_set<std::int32_t> seen;
  std::int32_t last = -1;
  for (auto const& gene : genes) {
    auto const place = places.find(gene);
    std::int32_t const to = place == places.end() ? -1 : place->second;
    map.to.push_back(to);
    if (to < 0) {
      ++map.dropped;
      continue;
    }
    if (seen.insert(to).second)
      ++map.found;
    else
      ++map.duplicates;
    map.rises = map.rises && to > last;
    last = to;
  }
  return map;
}

}  // namespace

GeneJoin parse_gene_join(std::string const& text) {
  if (text == "intersection") return GeneJoin::intersection;
  if (text == "union") return GeneJoin::join_union;
  fail(ExitCode::usage, "ingest.genes is '{}' (known are intersection and union). Choose one of them", text);
}

std::vector<std::string> read_vocabulary(std::filesystem::path const& file) {
  require_input(file, "vocabulary");
  std::ifstream in(file);
  std::vector<std::string> names;
  std::unordered_map<std::string, std::size_t> lines;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    line.resize(std::min(line.size(), line.find_first_of("\t,\r")));
    if (line.empty()) continue;
    if (auto const [earlier, fresh] = lines.try_emplace(line, number); !fresh)
      fail(ExitCode::bad_input,
           "vocabulary '{}' has '{}' in line {} and in line {} (a gene needs one place). Take one out", file.string(),
           line, earlier->second, number);
    names.push_back(line);
  }
  if (names.empty())
    fail(ExitCode::bad_input, "vocabulary '{}' names no gene (one symbol per line is expected). Check the file",
         file.string());
  return names;
}

GeneVocabulary register_genes(std::vector<std::vector<std::string>> const& genes, GeneJoin join,
                              std::vector<std::string> const& fixed, std::vector<std::filesystem::path> const& files) {
  GeneVocabulary vocabulary{fixed.empty() ? joined(genes, join) : fixed, {}};
  if (vocabulary.names.empty())
    fail(ExitCode::bad_input,
         "the {} input files have zero genes in common ('{}' begins with '{}', '{}' with '{}'). Name genes alike in "
         "all files, or set ingest.genes=union",
         files.size(), files.front().string(), genes.front().empty() ? "" : genes.front().front(),
         files.back().string(), genes.back().empty() ? "" : genes.back().front());

  std::unordered_map<std::string, std::int32_t> places;
  for (std::size_t i = 0; i < vocabulary.names.size(); ++i)
    places.emplace(vocabulary.names[i], static_cast<std::int32_t>(i));
  for (std::size_t file = 0; file < genes.size(); ++file) {
    vocabulary.maps.push_back(map_genes(genes[file], places));
    if (vocabulary.maps.back().found == 0)
      fail(ExitCode::bad_input,
           "'{}' has zero genes in common with the vocabulary (its first gene is '{}', the vocabulary's '{}'). Choose "
           "the var column with such names by ingest.gene_column",
           files[file].string(), genes[file].empty() ? "" : genes[file].front(), vocabulary.names.front());
  }
  return vocabulary;
}

}  // namespace retort
