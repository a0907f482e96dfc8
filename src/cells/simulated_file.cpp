// Writes simulated cells: the collective half of simulator.hpp.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "retort/cells/atlas_writer.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows_of_a_chunk = 2048;

// Rows [begin, end). Cells of one kind share a large table, so they are drawn one after the other and put in order
// afterwards.
struct Chunk {
  std::vector<std::uint32_t> genes, counts;
  std::vector<std::int64_t> row_nonzeros;

  void draw(Simulator& simulator, std::int64_t begin, std::int64_t end) {
    auto const rows = index(end - begin);
    order_.clear();
    for (std::int64_t row = begin; row < end; ++row) {
      auto const cell = simulator.describe(row);
      order_.emplace_back(std::tuple(cell.type, cell.batch, cell.condition), row);
    }
    std::ranges::sort(order_);
    drawn_genes_.clear();
    drawn_counts_.clear();
    starts_.assign(rows, 0);
    row_nonzeros.assign(rows, 0);
    for (auto const& [kind, row] : order_) {
      auto const i = index(row - begin);
      starts_[i] = std::ssize(drawn_genes_);
      simulator.draw(row, drawn_genes_, drawn_counts_);
      row_nonzeros[i] = std::ssize(drawn_genes_) - starts_[i];
    }
    genes.clear();
    counts.clear();
    for (std::size_t i = 0; i < rows; ++i) {
      auto const take = [&](std::vector<std::uint32_t> const& from, std::vector<std::uint32_t>& into) {
        into.insert(into.end(), from.begin() + starts_[i], from.begin() + starts_[i] + row_nonzeros[i]);
      };
      take(drawn_genes_, genes);
      take(drawn_counts_, counts);
    }
  }

 private:
  std::vector<std::pair<std::tuple<std::int32_t, std::int32_t, std::int32_t>, std::int64_t>> order_;
  std::vector<std::uint32_t> drawn_genes_, drawn_counts_;
  std::vector<std::int64_t> starts_;
};

std::vector<Simulator::Cell> describe_all(Simulator const& simulator, std::int64_t cells) {
  std::vector<Simulator::Cell> all;
  all.reserve(index(cells));
  for (std::int64_t row = 0; row < cells; ++row) all.push_back(simulator.describe(row));
  return all;
}

AtlasRows rows_of(Simulator const& simulator, RowRange share) {
  AtlasRows rows;
  rows.columns = {{"cell_type", simulator.type_names(), {}},
                  {"batch", simulator.batch_names(), {}},
                  {"condition", simulator.condition_names(), {}}};
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
void add_split(AtlasRows& rows, Simulator const& simulator, SimulateOptions const& options, std::uint64_t seed,
               RowRange share) {
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
    std::string const of = options.conditions == 2 ? "" : "_" + names[index(condition)];
    auto const changes = simulator.log_fold_changes(condition);
    genes.columns.push_back({"is_de" + of, changes, true});
    genes.columns.push_back({"true_lfc" + of, changes, false});
    if (options.interaction == 0) continue;
    for (std::int64_t type = 0; type < options.types; ++type) {
      auto const of_type = of + "_" + simulator.type_names()[index(type)];
      auto const changes_of_type = simulator.log_fold_changes(condition, type);
      genes.columns.push_back({"is_de" + of_type, changes_of_type, true});
      genes.columns.push_back({"true_lfc" + of_type, changes_of_type, false});
    }
  }
  return genes;
}

nlohmann::json told(SimulateOptions const& options, std::uint64_t seed) {
  nlohmann::json told{{"simulation",
                       {{"seed", seed},
                        {"cells", options.cells},
                        {"genes", options.genes},
                        {"types", options.types},
                        {"batches", options.batches},
                        {"conditions", options.conditions},
                        {"type_share", options.type_share},
                        {"type_sd", options.type_sd},
                        {"batch_sd", options.batch_sd},
                        {"library_sd", options.library_sd},
                        {"lfc", options.lfc},
                        {"lfc_sd", options.lfc_sd},
                        {"dispersion", options.dispersion}}}};
  if (options.interaction > 0) told["simulation"]["interaction"] = options.interaction;
  return told;
}

}  // namespace

void simulate(Communicator const& ranks, SimulateOptions const& options, std::uint64_t seed,
              std::filesystem::path const& file, std::function<void(std::int64_t)> const& progress) {
  std::unique_ptr<Simulator> simulator;
  ranks.together([&] { simulator = std::make_unique<Simulator>(options, seed); });
  auto const share = share_of(options.cells, ranks.rank(), ranks.size());
  Chunk chunk;
  std::int64_t done = 0;
  auto const each_chunk = [&](auto const& take) {
    for (std::int64_t begin = share.begin; begin < share.end; begin += rows_of_a_chunk) {
      std::int64_t const end = std::min(begin + rows_of_a_chunk, share.end);
      chunk.draw(*simulator, begin, end);
      take();
      done += end - begin;
      if (progress) progress(done);
    }
  };

  std::vector<std::int64_t> row_nonzeros;
  AtlasForm form{options.cells, options.genes, true, 0, 0, options.format == "h5ad"};
  each_chunk([&] {
    row_nonzeros.insert(row_nonzeros.end(), chunk.row_nonzeros.begin(), chunk.row_nonzeros.end());
    for (auto const count : chunk.counts) form.largest = std::max(form.largest, count);
  });
  AtlasWriter writer(ranks, file, form, share, row_nonzeros);
  ranks.together([&] { each_chunk([&] { writer.append(chunk.genes, chunk.counts); }); });
  auto rows = rows_of(*simulator, share);
  if (!form.plain) add_split(rows, *simulator, options, seed, share);
  writer.finish(rows, genes_of(*simulator, options),
                {true, "cell_type", static_cast<std::int64_t>(seed), told(options, seed)});
}

}  // namespace retort
