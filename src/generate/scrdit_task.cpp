#include "retort/generate/scrdit_task.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "retort/cells/batch_stream.hpp"
#include "retort/cells/csr_rows.hpp"
#include "retort/cells/variable_genes.hpp"
#include "retort/generate/conditions.hpp"
#include "retort/generate/shard_rows.hpp"
#include "retort/layers/normal_tensor.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows_at_once = 1024;
constexpr std::size_t most_sampled = 10'000;  // cells that genes are chosen on, and means and scale taken of

ScrditShape with_genes(ScrditShape shape, std::int64_t genes) {
  std::visit([&](auto& sizes) { sizes.genes = genes; }, shape);
  return shape;
}

std::int64_t width_of(Atlas const& atlas, ScrditTraining const& training) {
  auto const divisor = genes_divisor(training.shape);
  if (divisor < 1 || training.genes < 1)
    fail(ExitCode::usage, "diffusion.genes {} and diffusion.patch {} must be at least 1", training.genes, divisor);
  auto const width = std::min(training.genes, atlas.genes()) / divisor * divisor;
  if (width == 0)
    fail(ExitCode::usage, "{} of {} genes are fewer than the {} that the network takes at once. {}aise diffusion.genes",
         training.genes, atlas.genes(), divisor,
         std::holds_alternative<ScrditTransformerShape>(training.shape) ? "Lower diffusion.patch, or r" : "R");
  return width;
}

// Rows of the fit part, those of the classes alone where any are asked for.
std::vector<std::int64_t> training_rows(Atlas const& atlas, ScrditTraining const& training) {
  auto rows = rows_of_part(atlas, Part::fit);
  if (!training.classes.empty()) {
    auto const labels = conditions_of(atlas, {training.label});
    std::vector<std::int64_t> wanted;
    for (auto const& name : training.classes) wanted.push_back(labels.conditions.of_name(name));
    std::erase_if(rows, [&](std::int64_t row) {
      return std::find(wanted.begin(), wanted.end(), labels.combination[index(row)]) == wanted.end();
    });
  }
  if (rows.empty()) fail(ExitCode::bad_input, "'{}' has no cell to train on in its fit part", atlas.file().string());
  return rows;
}

// Log-normalised over all genes, the chosen ones kept.
CsrBlock read_chosen(Atlas const& atlas, std::span<std::int64_t const> rows, std::span<std::int64_t const> genes) {
  CsrBlock chosen;
  chosen.genes = std::ssize(genes);
  for (std::int64_t begin = 0; begin < std::ssize(rows); begin += rows_at_once)
    append_rows(chosen, cut_to_genes(atlas.read_log(rows.subspan(
                                         index(begin), index(std::min(rows_at_once, std::ssize(rows) - begin)))),
                                     genes));
  return chosen;
}

// Means of the genes and the root mean square of what is left, zeros as the network sees them.
ScrditValues standardised(CsrBlock const& cells, double zero_value) {
  auto const n = static_cast<double>(cells.rows());
  ScrditValues values{zero_value, std::vector<double>(index(cells.genes), 0)};
  std::vector<double> stored(values.mean.size());
  double squares = 0;
  for (std::size_t k = 0; k < cells.indices.size(); ++k) {
    auto const gene = index(cells.indices[k]);
    double const value = cells.values[k];
    values.mean[gene] += value, stored[gene] += 1, squares += value * value;
  }
  for (std::size_t gene = 0; gene < stored.size(); ++gene) {
    values.mean[gene] = (values.mean[gene] + zero_value * (n - stored[gene])) / n;
    squares += zero_value * zero_value * (n - stored[gene]) - n * values.mean[gene] * values.mean[gene];
  }
  double const variance = squares / (n * static_cast<double>(cells.genes));
  if (!(variance > 0))
    fail(ExitCode::bad_input, "the cells to train on are all alike (nothing can be learned of them)");
  values.scale = std::sqrt(variance);
  return values;
}

// The network with random weights; which genes it draws, and how they are shown to it, is not known yet.
ScrditGenerator untrained(Atlas const& atlas, ScrditTraining const& training, std::uint64_t seed) {
  return {.network = ScrditNetwork(with_genes(training.shape, width_of(atlas, training)), seed),
          .gene_names = {},
          .values = {.zero_value = training.zero_value},
          .label = training.classes.empty() ? "" : atlas.labels(training.label).column,
          .classes = training.classes,
          .atlas = atlas.identity()};
}

std::int64_t genes_of(ScrditNetwork const& network) {
  return std::visit([](auto const& shape) { return shape.genes; }, network.shape());
}

// Collective: rank 0 chooses for all.
std::vector<std::int64_t> choose_genes(Communicator const& ranks, Atlas const& atlas, std::int64_t count) {
  auto genes = ranks.together(
      [&] { return ranks.is_root() ? scrdit_genes(atlas, count) : std::vector<std::int32_t>(index(count)); });
  ranks.broadcast(std::span(genes));
  return {genes.begin(), genes.end()};
}

// Collective: rank 0 reads the first of the rows for all.
ScrditValues standardised(Communicator const& ranks, Atlas const& atlas, std::span<std::int64_t const> rows,
                          std::span<std::int64_t const> genes, double zero_value) {
  auto values = ranks.together([&] {
    if (!ranks.is_root()) return ScrditValues{zero_value, std::vector<double>(genes.size())};
    return standardised(read_chosen(atlas, rows.first(std::min(rows.size(), most_sampled)), genes), zero_value);
  });
  ranks.broadcast(std::span(values.mean));
  ranks.broadcast(std::span(&values.scale, 1));
  return values;
}

// Of each of this rank's shards: its cells, the chosen genes.
std::map<int, CsrBlock> cells_of_shards(Atlas const& atlas, std::span<std::int64_t const> rows,
                                        std::span<std::int64_t const> genes, ShardPlan const& plan) {
  std::map<int, CsrBlock> cells;
  for (int shard = plan.begin(); shard < plan.end(); ++shard)
    cells.emplace(shard, read_chosen(atlas, rows_of_shard(rows, shard, plan.shards()), genes));
  return cells;
}

}  // namespace

std::vector<std::int32_t> scrdit_genes(Atlas const& atlas, std::int64_t count) {
  auto rows = rows_of_part(atlas, Part::fit);
  rows.resize(std::min(rows.size(), most_sampled));
  auto const cells = atlas.read(rows);
  if (!atlas.holds_counts()) return most_varying_genes(cells, count).genes;
  auto genes = variable_genes(cells, {.count = count}).genes;
  // All genes come back where fewer than asked for are seen in enough cells.
  return std::ssize(genes) == count ? genes : most_varying_genes(cells, count).genes;
}

ScrditTask::ScrditTask(Session const& session, Atlas const& atlas, ScrditTraining const& training,
                       ShardPlan const& plan)
    : seed_(static_cast<std::uint64_t>(session.run.seed)),
      generator_(session.ranks.together([&] { return untrained(atlas, training, seed_); })) {
  auto const& ranks = session.ranks;
  auto const rows = ranks.together([&] { return training_rows(atlas, training); });
  if (session.dry_run) return;
  auto const genes = choose_genes(ranks, atlas, genes_of(generator_.network));
  for (auto const gene : genes) generator_.gene_names.push_back(atlas.gene_names()[index(gene)]);
  if (training.standardise) generator_.values = standardised(ranks, atlas, rows, genes, training.zero_value);
  cells_ = ranks.together([&] { return cells_of_shards(atlas, rows, genes, plan); });
}

std::string ScrditTask::description() const {
  return fmt::format(
      "{} of {} genes, {}", generator_.network_name(), genes_of(generator_.network),
      generator_.classes.empty() ? "all cells" : fmt::format("cells of {}", fmt::join(generator_.classes, ", ")));
}

NoisyCells ScrditTask::draw(std::int64_t step, int shard, int, std::int64_t n) const {
  auto const& own = cells_.at(shard);
  Random random(seed_, purpose::diffusion, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(shard));
  at::Tensor const cells = at::zeros({n, own.genes}), t = at::empty({n}, at::kLong), keep = at::empty({n, 1}),
                   spread = at::empty({n, 1});
  for (std::int64_t i = 0; i < n; ++i) {
    auto const row = random.below(static_cast<std::uint64_t>(own.rows()));
    auto const time = 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(schedule_.steps() - 1)));
    t.data_ptr<std::int64_t>()[i] = time;
    keep.data_ptr<float>()[i] = static_cast<float>(std::sqrt(signal_left(schedule_, time)));
    spread.data_ptr<float>()[i] = static_cast<float>(std::sqrt(1 - signal_left(schedule_, time)));
    for (auto k = index(own.indptr[row]); k < index(own.indptr[row + 1]); ++k)
      cells.data_ptr<float>()[i * own.genes + own.indices[k]] = own.values[k];
  }
  at::Tensor const noise = normal_tensor(cells.sizes(), random);  // [n, genes]
  return {keep * generator_.values.shown(cells) + spread * noise, t, {}, noise};
}

}  // namespace retort
