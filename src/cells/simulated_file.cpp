// Writes simulated cells: the collective half of simulator.hpp.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "retort/cells/atlas_writer.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows_of_a_chunk = 1024;

std::vector<Simulator::Cell> describe_all(Simulator const& simulator, std::int64_t cells) {
  std::vector<Simulator::Cell> all;
  all.reserve(static_cast<std::size_t>(cells));
  for (std::int64_t row = 0; row < cells; ++row) all.push_back(simulator.describe(row));
  return all;
}

AtlasRows rows_of(Simulator const& simulator, RowRange share) {
  AtlasRows rows;
  rows.columns = {{"cell_type", simulator.type_names(), {}}, {"batch", simulator.batch_names(), {}}, {"condition", simulator.condition_names(), {}}};
  for (std::int64_t row = share.begin; row < share.end; ++row) {
    auto const cell = simulator.describe(row);
    rows.names.push_back(fmt::format("c{}", row));
    rows.columns[0].codes.push_back(cell.type);
    rows.columns[1].codes.push_back(cell.batch);
    rows.columns[2].codes.push_back(cell.condition);
  }
  return rows;
}

// The split of an atlas needs the types of all cells.
void add_split(AtlasRows& rows, Simulator const& simulator, SimulateOptions const& options, std::uint64_t seed, RowRange share) {
  std::vector<std::int32_t> types;
  for (auto const& cell : describe_all(simulator, options.cells)) types.push_back(cell.type);
  auto const parts = stratified_split(types, options.types, {}, seed);
  rows.parts.assign(parts.begin() + share.begin, parts.begin() + share.end);
  for (std::int64_t row = share.begin; row < share.end; ++row) rows.source_rows.push_back(row);
}

AtlasGenes genes_of(Simulator const& simulator, SimulateOptions const& options) {
  AtlasGenes genes;
  for (std::int64_t gene = 0; gene < options.genes; ++gene) genes.names.push_back(fmt::format("G{}", gene));
  auto const names = simulator.condition_names();
  for (std::int64_t condition = 1; condition < options.conditions; ++condition) {
    std::string const of = options.conditions == 2 ? "" : "_" + names[static_cast<std::size_t>(condition)];
    auto const changes = simulator.log_fold_changes(condition);
    genes.columns.push_back({"is_de" + of, changes, true});
    genes.columns.push_back({"true_lfc" + of, changes, false});
  }
  return genes;
}

nlohmann::json told(SimulateOptions const& options, std::uint64_t seed) {
  return {{"simulation",
           {{"seed", seed}, {"cells", options.cells}, {"genes", options.genes}, {"types", options.types}, {"batches", options.batches}, {"conditions", options.conditions},
            {"type_share", options.type_share}, {"type_sd", options.type_sd}, {"batch_sd", options.batch_sd}, {"library_sd", options.library_sd},
            {"lfc", options.lfc}, {"lfc_sd", options.lfc_sd}, {"dispersion", options.dispersion}}}};
}

}  // namespace

void simulate(Communicator const& ranks, SimulateOptions const& options, std::uint64_t seed, std::filesystem::path const& file,
              std::function<void(std::int64_t)> const& progress) {
  std::unique_ptr<Simulator> simulator;
  ranks.together([&] { simulator = std::make_unique<Simulator>(options, seed); });
  auto const share = share_of(options.cells, ranks.rank(), ranks.size());
  std::vector<std::uint32_t> genes, counts;
  std::int64_t done = 0;
  auto const tell = [&](std::int64_t rows) {
    done += rows;
    if (progress) progress(done);
  };

  std::vector<std::int64_t> row_nonzeros;
  AtlasForm form{options.cells, options.genes, true, 0, 0, options.format == "h5ad"};
  for (std::int64_t row = share.begin; row < share.end; ++row) {
    genes.clear();
    counts.clear();
    simulator->draw(row, genes, counts);
    row_nonzeros.push_back(std::ssize(genes));
    for (auto const count : counts) form.largest = std::max(form.largest, count);
    if ((row + 1 - share.begin) % rows_of_a_chunk == 0) tell(rows_of_a_chunk);
  }

  AtlasWriter writer(ranks, file, form, share, row_nonzeros);
  ranks.together([&] {
    for (std::int64_t begin = share.begin; begin < share.end; begin += rows_of_a_chunk) {
      genes.clear();
      counts.clear();
      std::int64_t const end = std::min(begin + rows_of_a_chunk, share.end);
      for (std::int64_t row = begin; row < end; ++row) simulator->draw(row, genes, counts);
      writer.append(genes, counts);
      tell(end - begin);
    }
  });
  auto rows = rows_of(*simulator, share);
  if (!form.plain) add_split(rows, *simulator, options, seed, share);
  writer.finish(rows, genes_of(*simulator, options), {true, "cell_type", static_cast<std::int64_t>(seed), told(options, seed)});
}

}  // namespace retort
