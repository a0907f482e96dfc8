#include "retort/fidelity/kinds.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <unordered_map>

#include "retort/cells/csr_rows.hpp"
#include "retort/files/h5ad_writer.hpp"
#include "retort/files/hdf5.hpp"
#include "retort/generate/conditions.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

CellValues values_of(std::filesystem::path const& file) {
  auto const opened = Hdf5File::open(file);
  if (!opened.has("uns/retort/values")) return CellValues::counts;
  auto const text = opened.dataset("uns/retort/values").read_strings();
  if (text == std::vector<std::string>{"counts"}) return CellValues::counts;
  if (text == std::vector<std::string>{"log_normalised"}) return CellValues::log_normalised;
  fail(ExitCode::bad_input, "'{}' uns/retort/values is '{}' (it is counts or log_normalised)", file.string(),
       fmt::join(text, ", "));
}

// The atlas's number of each gene of a set.
std::vector<std::int64_t> genes_of(std::filesystem::path const& file, CellSet const& set, Atlas const& atlas) {
  std::unordered_map<std::string, std::int64_t> known;
  for (auto const& name : atlas.gene_names()) known.emplace(name, std::ssize(known));
  std::vector<std::int64_t> genes;
  std::vector<bool> seen(atlas.gene_names().size());
  for (auto const& name : set.gene_names) {
    auto const found = known.find(name);
    if (found == known.end())
      fail(ExitCode::bad_input,
           "'{}' has the gene '{}', which the atlas lacks (its real expression is not known). Generate it from this "
           "atlas",
           file.string(), name);
    if (seen[index(found->second)]) fail(ExitCode::bad_input, "'{}' has the gene '{}' twice", file.string(), name);
    seen[index(found->second)] = true;
    genes.push_back(found->second);
  }
  return genes;
}

void require_drawn_for(std::filesystem::path const& file, Atlas const& atlas) {
  auto const trained_on = origin_of(file).atlas;
  if (!trained_on.empty() && trained_on != atlas.identity())
    fail(ExitCode::bad_input,
         "'{}' comes of a generator of another atlas than '{}' (cells that it was trained on may be test cells here). "
         "Name its atlas, or train on this one",
         file.string(), atlas.file().string());
}

// The kind of each cell; nothing where the set has none of the label columns.
std::optional<std::vector<std::int32_t>> kinds_of_cells(std::filesystem::path const& file, CellSet const& set,
                                                        Kinds const& kinds) {
  std::vector<CellSet::Column const*> columns;
  std::vector<std::string> missing;
  for (auto const& name : kinds.columns) {
    auto const found =
        std::find_if(set.columns.begin(), set.columns.end(), [&](auto const& one) { return one.name == name; });
    if (found == set.columns.end())
      missing.push_back(name);
    else
      columns.push_back(&*found);
  }
  if (columns.empty()) return {};
  if (!missing.empty())
    fail(ExitCode::bad_input,
         "'{}' has no obs column '{}' (what its cells are meant to be is not known). Generate it with that label",
         file.string(), missing.front());
  std::vector<std::int32_t> of_cell;
  for (std::int64_t cell = 0; cell < set.cells; ++cell) {
    std::vector<std::string> classes;
    for (auto const* column : columns) {
      auto const code = column->codes[index(cell)];
      if (code < 0) fail(ExitCode::bad_input, "'{}' obs/{} row {} has no label", file.string(), column->name, cell);
      classes.push_back(column->categories[index(code)]);
    }
    auto const found = kinds.of_classes.find(classes);
    if (found == kinds.of_classes.end())
      fail(ExitCode::bad_input, "'{}' row {} is '{}', and the atlas has no such cells", file.string(), cell,
           fmt::join(classes, "/"));
    of_cell.push_back(found->second);
  }
  return of_cell;
}

// Of a set without labels: the kinds of the classes that its generator was trained on, as the file says, or all.
std::vector<bool> kinds_without_labels(std::filesystem::path const& file, Kinds const& kinds) {
  auto const opened = Hdf5File::open(file);
  if (!opened.has("uns/retort/label") || !opened.has("uns/retort/classes"))
    return std::vector<bool>(kinds.names.size(), true);
  auto const label = opened.dataset("uns/retort/label").read_strings().at(0);
  auto const column = std::find(kinds.columns.begin(), kinds.columns.end(), label) - kinds.columns.begin();
  if (column == std::ssize(kinds.columns))
    fail(ExitCode::bad_input, "'{}' is of classes of '{}' (not of {}). Set evaluate_generated.label to it",
         file.string(), label, fmt::join(kinds.columns, "/"));
  auto const classes = opened.dataset("uns/retort/classes").read_strings();
  std::vector<bool> covers(kinds.names.size());
  for (auto const& [of_column, kind] : kinds.of_classes)
    covers[index(kind)] = std::find(classes.begin(), classes.end(), of_column[index(column)]) != classes.end();
  return covers;
}

}  // namespace

SetOrigin origin_of(std::filesystem::path const& file) {
  auto const opened = Hdf5File::open(file);
  auto const strings = [&](std::string const& name) {
    return opened.has("uns/retort/" + name) ? opened.dataset("uns/retort/" + name).read_strings()
                                            : std::vector<std::string>();
  };
  auto const first = [](std::vector<std::string> const& of) { return of.empty() ? "" : of.front(); };
  auto columns = strings("columns");
  return {first(strings("atlas")), first(strings("encoder")), columns.empty() ? strings("label") : std::move(columns)};
}

Kinds kinds_of(Atlas const& atlas, std::vector<std::string> const& columns, std::vector<std::string> const& left_out) {
  auto const conditioned = conditions_of(atlas, columns);
  auto const& conditions = conditioned.conditions;
  Kinds kinds;
  kinds.columns = conditions.column_names();
  std::map<std::int32_t, std::int32_t> kind_of;  // by combination: those that occur, in their order
  for (auto const combination : conditioned.combination) kind_of.emplace(combination, 0);
  for (auto& [combination, kind] : kind_of) {
    kind = static_cast<std::int32_t>(kinds.count());
    kinds.names.push_back(conditions.name(combination));
    std::vector<std::string> classes;
    auto const codes = conditions.classes(combination);
    for (std::size_t a = 0; a < codes.size(); ++a) classes.push_back(conditions.columns()[a].classes[index(codes[a])]);
    kinds.of_classes.emplace(std::move(classes), kind);
  }
  kinds.train_cells.resize(kinds.names.size());
  kinds.test_cells.resize(kinds.names.size());
  kinds.unseen.assign(kinds.names.size(), true);
  for (std::size_t row = 0; row < conditioned.combination.size(); ++row) {
    auto const kind = kind_of.at(conditioned.combination[row]);
    auto const part = atlas.parts()[row];
    kinds.of_row.push_back(kind);
    ++(part == Part::test ? kinds.test_cells : kinds.train_cells)[index(kind)];
    if (part == Part::fit) kinds.unseen[index(kind)] = false;
  }
  for (auto const& name : left_out) {
    auto const found = std::find(kinds.names.begin(), kinds.names.end(), name);
    if (found == kinds.names.end())
      fail(ExitCode::usage, "there are no cells '{}' in {} (known are {})", name, fmt::join(kinds.columns, "/"),
           fmt::join(kinds.names.begin(), kinds.names.begin() + std::min<std::ptrdiff_t>(20, kinds.count()), ", "));
    if (std::find(found + 1, kinds.names.end(), name) != kinds.names.end())
      fail(ExitCode::usage, "'{}' names two combinations of {} (a class name holds '/'). Rename the class in the h5ad",
           name, fmt::join(kinds.columns, "/"));
    kinds.unseen[index(found - kinds.names.begin())] = true;
  }
  return kinds;
}

CellsOfKinds real_cells(Atlas const& atlas, Kinds const& kinds, std::span<std::int64_t const> rows,
                        Terms const& terms) {
  if (terms.values == CellValues::counts && !atlas.holds_counts())
    fail(ExitCode::bad_input, "'{}' holds log values (the generated cells are counts). Ingest a file with counts",
         atlas.file().string());
  CellsOfKinds real{
      cut_to_genes(terms.values == CellValues::counts ? atlas.read(rows) : atlas.read_log(rows), terms.genes), {}};
  for (auto const row : rows) real.kinds.push_back(kinds.of_row[index(row)]);
  return real;
}

GeneratedSet read_generated(std::filesystem::path const& file, Atlas const& atlas, Kinds const& kinds) {
  auto const set = read_cell_set(file);
  if (!set.cells || !set.genes)
    fail(ExitCode::bad_input, "'{}' has {} cells of {} genes (nothing to compare)", file.string(), set.cells,
         set.genes);
  require_drawn_for(file, atlas);
  auto const numbers = genes_of(file, set, atlas);
  std::vector<std::size_t> order(numbers.size());  // of the set's columns, by the atlas's numbers
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return numbers[a] < numbers[b]; });
  auto const of_cell = kinds_of_cells(file, set, kinds);
  auto covers = of_cell ? std::vector<bool>(kinds.names.size()) : kinds_without_labels(file, kinds);
  if (of_cell)
    for (auto const kind : *of_cell) covers[index(kind)] = true;
  for (std::size_t kind = 0; kind < covers.size(); ++kind) covers[kind] = covers[kind] && kinds.test_cells[kind] > 0;
  if (std::find(covers.begin(), covers.end(), true) == covers.end())
    fail(ExitCode::bad_input, "'{}' has no cells of a kind that the atlas has test cells of (nothing to compare with)",
         file.string());
  GeneratedSet generated{{values_of(file), {}, std::move(covers), of_cell.has_value()}, {}};
  for (auto const column : order) generated.terms.genes.push_back(numbers[column]);

  bool const are_counts = generated.terms.values == CellValues::counts;
  auto& cells = generated.cells.cells;
  cells.genes = set.genes;
  for (std::int64_t cell = 0; cell < set.cells; ++cell) {
    float const* const values = set.x.data() + cell * set.genes;
    auto const kind = of_cell ? (*of_cell)[index(cell)] : 0;
    bool const is_compared = !of_cell || generated.terms.covers[index(kind)];
    for (std::size_t place = 0; place < order.size(); ++place) {
      float const value = values[order[place]];
      if (!std::isfinite(value) || (are_counts && value < 0))
        fail(ExitCode::bad_input, "'{}' row {} holds {} of gene '{}' ({})", file.string(), cell, value,
             set.gene_names[order[place]], are_counts ? "counts are finite and not negative" : "expression is finite");
      if (value == 0 || !is_compared) continue;
      cells.indices.push_back(static_cast<std::int32_t>(place));
      cells.values.push_back(value);
    }
    if (!is_compared) continue;
    cells.indptr.push_back(std::ssize(cells.indices));
    generated.cells.kinds.push_back(kind);
  }
  return generated;
}

}  // namespace retort
