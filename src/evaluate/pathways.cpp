#include "retort/evaluate/pathways.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

constexpr std::size_t most_pathways = 299, least_pathways = 30, most_genes = 300, least_genes = 5;

std::string upper(std::string text) {
  for (char& letter : text)
    if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
  return text;
}

// The largest, each in its place.
template <class Set, class Size>
std::vector<Set> largest(std::vector<Set> sets, Size const& size) {
  std::vector<std::size_t> order(sets.size());
  std::iota(order.begin(), order.end(), 0UL);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return size(sets[a]) > size(sets[b]); });
  order.resize(std::min(order.size(), most_pathways));
  std::sort(order.begin(), order.end());
  std::vector<Set> kept;
  for (auto const i : order) kept.push_back(std::move(sets[i]));
  return kept;
}

std::vector<std::size_t> sizes_to_draw(std::vector<GeneSet> const& sets) {
  std::vector<std::size_t> sizes;
  for (auto const& set : sets)
    if (set.symbols.size() >= least_genes && set.symbols.size() <= most_genes) sizes.push_back(set.symbols.size());
  if (sizes.empty())
    for (std::size_t i = 0; i < most_pathways; ++i)
      sizes.push_back(index(std::lround(200 * std::pow(10.0, -static_cast<double>(i) / (most_pathways - 1)))));
  return largest(std::move(sizes), [](std::size_t size) { return size; });
}

Pathways random_pathways(std::vector<std::size_t> const& sizes, std::size_t genes) {
  Pathways drawn{{}, true, {}};
  std::vector<std::int32_t> all(genes);
  std::iota(all.begin(), all.end(), 0);
  for (std::size_t const size : sizes) {
    constexpr std::uint64_t seed = 0;  // not the run's: the masks belong to the architecture
    auto order = all;
    Random(seed, purpose::random_pathways, drawn.genes.size()).shuffle(order);
    order.resize(std::min(size, genes));
    std::sort(order.begin(), order.end());
    drawn.genes.push_back(std::move(order));
  }
  return drawn;
}

}  // namespace

std::vector<GeneSet> read_gene_sets(std::filesystem::path const& file) {
  require_input(file, "pathways");
  std::ifstream in(file);
  std::vector<GeneSet> sets;
  std::unordered_set<std::string> names;
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    std::vector<std::string> fields;
    for (std::size_t begin = 0; begin <= line.size();) {
      auto const end = std::min(line.find('\t', begin), line.size());
      fields.push_back(line.substr(begin, end - begin));
      begin = end + 1;
    }
    GeneSet set{fields[0], {}};
    for (std::size_t i = 2; i < fields.size(); ++i)
      if (!fields[i].empty() && std::find(set.symbols.begin(), set.symbols.end(), fields[i]) == set.symbols.end())
        set.symbols.push_back(fields[i]);
    if (set.name.empty() || set.symbols.empty())
      fail(ExitCode::bad_input,
           "'{}' line {} is no gene set (a name, a description and symbols are expected, with tabs between). Give a "
           "GMT file",
           file.string(), number);
    if (!names.insert(set.name).second)
      fail(ExitCode::bad_input, "'{}' line {} names '{}' again (a pathway needs one line). Take one out", file.string(),
           number, set.name);
    sets.push_back(std::move(set));
  }
  if (sets.empty())
    fail(ExitCode::bad_input, "'{}' has no gene set (one per line is expected). Give a GMT file", file.string());
  return sets;
}

Pathways choose_pathways(std::vector<GeneSet> const& sets, std::vector<std::string> const& gene_names) {
  std::unordered_map<std::string, std::int32_t> columns;
  for (std::size_t i = 0; i < gene_names.size(); ++i)
    columns.emplace(upper(gene_names[i]), static_cast<std::int32_t>(i));
  std::vector<std::vector<std::int32_t>> found;
  for (auto const& set : sets) {
    if (set.symbols.size() > most_genes) continue;
    std::vector<std::int32_t> genes;
    for (auto const& symbol : set.symbols)
      if (auto const column = columns.find(upper(symbol)); column != columns.end()) genes.push_back(column->second);
    std::sort(genes.begin(), genes.end());
    genes.erase(std::unique(genes.begin(), genes.end()), genes.end());
    if (genes.size() >= least_genes) found.push_back(std::move(genes));
  }
  if (found.size() >= least_pathways) {
    Pathways read{largest(std::move(found), [](auto const& genes) { return genes.size(); }), false, {}};
    read.origin = fmt::format("{} pathways", read.genes.size());
    return read;
  }
  Pathways drawn = random_pathways(sizes_to_draw(sets), gene_names.size());
  drawn.origin = fmt::format("{} random gene sets ({})", drawn.genes.size(),
                             sets.empty() ? "no file was given"
                                          : fmt::format("{} of {} pathways have {} genes of this atlas, {} are needed",
                                                        found.size(), sets.size(), least_genes, least_pathways));
  return drawn;
}

}  // namespace retort
