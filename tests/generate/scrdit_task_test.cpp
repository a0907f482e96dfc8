// What scRDiT is trained on, on any number of ranks: its genes, its cells and, against a formula in double precision,
// its loss.
#include "retort/generate/scrdit_task.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <bit>

#include "../shared_folder.hpp"
#include "../small_cells.hpp"
#include "retort/cells/atlas_writer.hpp"
#include "retort/cells/batch_stream.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/cells/variable_genes.hpp"
#include "retort/generate/shard_rows.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

constexpr std::uint64_t seed = 4;

struct Stage {
  Communicator const& ranks;
  SharedFolder shared;
  RunOptions run;
  OptionTable table{"retort-train-test", "a test"};
  RunFolder folder;
  Session session;
  std::optional<Atlas> atlas;

  Stage(Communicator const& all, std::string const& name)
      : ranks(all),
        shared(all, name),
        folder(shared.path, "train-test", all.is_root()),
        session(ranks, folder, table, run) {
    run.seed = seed;
    SimulateOptions options;
    options.cells = 200, options.genes = 90, options.types = 3, options.nonzeros = 20;
    simulate(ranks, options, 3, shared / "atlas.h5ad");
    atlas.emplace(shared / "atlas.h5ad");
  }
};

// Expression of all cells, as NumPy would have it: [cells, genes] float64.
at::Tensor expression(Atlas const& atlas) {
  at::Tensor const x = testing_cells::dense(atlas.read(0, atlas.cells())).to(at::kDouble);
  return (x * (1e4 / x.sum(1, true).clamp_min(1))).log1p();
}

// The loss of a shard at a step by methods 2.2, its cell, index and noise drawn as the task's header has it.
double loss_of(ScrditGenerator const& generator, Atlas const& atlas, ShardPlan const& plan, std::int64_t step,
               int shard, std::int64_t n) {
  std::vector<std::int64_t> rows, columns;
  for (auto const row : rows_of_part(atlas, Part::fit)) {
    auto const labels = atlas.labels("cell_type");
    auto const& name = labels.names[index(labels.codes[index(row)])];
    if (generator.classes.empty() ||
        std::find(generator.classes.begin(), generator.classes.end(), name) != generator.classes.end())
      rows.push_back(row);
  }
  for (auto const& name : generator.gene_names)
    columns.push_back(std::find(atlas.gene_names().begin(), atlas.gene_names().end(), name) -
                      atlas.gene_names().begin());
  auto const own = rows_of_shard(rows, shard, plan.shards());
  Random random(seed, purpose::diffusion, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(shard));
  std::vector<std::int64_t> cells, times;
  for (std::int64_t i = 0; i < n; ++i) {
    cells.push_back(own[random.below(own.size())]);
    times.push_back(1 + static_cast<std::int64_t>(random.below(999)));
  }
  std::vector<double> numbers;
  for (std::int64_t i = 0; i < n * std::ssize(columns); ++i) numbers.push_back(random.normal());
  at::Tensor const t = at::tensor(times, at::kLong), noise = at::tensor(numbers, at::kDouble).view({n, -1});
  at::Tensor x =
      expression(atlas).index_select(0, at::tensor(cells, at::kLong)).index_select(1, at::tensor(columns, at::kLong));
  auto const& values = generator.values;
  x = at::where(x == 0, values.zero_value, x);
  if (!values.mean.empty()) x = (x - at::tensor(values.mean, at::kDouble)) / values.scale;
  at::Tensor const signal =
      (1 - at::linspace(1e-4, 0.02, 1000, at::kDouble)).cumprod(0).index_select(0, t).unsqueeze(1);
  at::NoGradGuard const no_graph;
  auto const made = generator.network.predict((signal.sqrt() * x + (1 - signal).sqrt() * noise).to(at::kFloat), t);
  return (made.to(at::kDouble) - noise).square().mean().item<double>();
}

void shake(std::vector<at::Tensor> const& parameters) {
  at::NoGradGuard const no_graph;
  at::manual_seed(1);
  for (auto const& tensor : parameters) tensor.detach().add_(at::randn_like(tensor), 0.1);
}

TEST(ScrditTask, LossIsThatOfTheFormula) {
  auto const ranks = Communicator::world();
  Stage const stage(ranks, "scrdit_task");
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  ScrditShape const transformer = ScrditTransformerShape{.patch = 7, .width = 16, .depth = 1, .heads = 2},
                    unet = ScrditUnetShape{.channels = 4};
  for (ScrditTraining const& training :
       {ScrditTraining{.shape = transformer, .genes = 60}, ScrditTraining{.shape = transformer, .zero_value = 0},
        ScrditTraining{.shape = unet, .genes = 50, .zero_value = -3},
        ScrditTraining{.shape = transformer, .standardise = true, .label = "cell_type", .classes = {"t2", "t0"}}}) {
    ScrditTask task(stage.session, *stage.atlas, training, plan);
    shake(task.parameters());
    if (ranks.is_root()) task.save(stage.shared / "denoiser");
    ranks.barrier();
    auto const generator = ScrditGenerator::load(stage.shared / "denoiser");
    EXPECT_EQ(generator.genes(), training.genes == 60   ? 56
                                 : training.genes == 50 ? 48
                                                        : 84)
        << "less what does not fill a patch";
    EXPECT_EQ(generator.values.zero_value, training.zero_value);
    EXPECT_EQ(generator.values.mean.empty(), !training.standardise);
    EXPECT_EQ(generator.classes, training.classes);
    EXPECT_EQ(generator.atlas, stage.atlas->identity());
    for (int shard = plan.begin(); shard < plan.end(); ++shard)
      for (std::int64_t const step : {0, 7}) {
        at::Tensor const loss = task.loss(task.draw(step, shard, 1, 40), 0);
        EXPECT_NEAR(loss.item<double>(), loss_of(generator, *stage.atlas, plan, step, shard, 40),
                    1e-4 * loss.item<double>())
            << task.description() << " step " << step << " shard " << shard;
        EXPECT_TRUE(loss.requires_grad());
      }
    ranks.barrier();
  }
}

TEST(ScrditTask, StandardisedCellsHaveNoMeanAndUnitScale) {
  auto const ranks = Communicator::world();
  Stage const stage(ranks, "scrdit_standardised");
  ScrditTask const task(stage.session, *stage.atlas,
                        {.shape = ScrditUnetShape{.channels = 4}, .genes = 40, .zero_value = -3, .standardise = true},
                        ShardPlan(4, ranks.rank(), ranks.size()));
  if (ranks.is_root()) task.save(stage.shared / "denoiser");
  ranks.barrier();
  auto const generator = ScrditGenerator::load(stage.shared / "denoiser");
  std::vector<std::int64_t> columns;
  for (auto const& name : generator.gene_names)
    columns.push_back(std::find(stage.atlas->gene_names().begin(), stage.atlas->gene_names().end(), name) -
                      stage.atlas->gene_names().begin());
  auto const fit = expression(*stage.atlas)
                       .index_select(0, at::tensor(rows_of_part(*stage.atlas, Part::fit), at::kLong))
                       .index_select(1, at::tensor(columns, at::kLong))
                       .to(at::kFloat);
  auto const shown = generator.values.shown(fit);
  EXPECT_LT(shown.mean(0).abs().max().item<double>(), 1e-4);
  EXPECT_NEAR(shown.square().mean().item<double>(), 1, 1e-4);
  EXPECT_TRUE(at::allclose(generator.values.expression(shown), fit, 1e-4, 1e-4)) << "zeros are drawn as zeros";
  ranks.barrier();
}

TEST(ScrditTask, GenesAreChosenOnTheFitPart) {
  auto const ranks = Communicator::world();
  Stage const stage(ranks, "scrdit_genes");
  auto const fit = stage.atlas->read(rows_of_part(*stage.atlas, Part::fit));
  EXPECT_EQ(scrdit_genes(*stage.atlas, 30), variable_genes(fit, {.count = 30}).genes);
  EXPECT_NE(scrdit_genes(*stage.atlas, 30),
            variable_genes(stage.atlas->read(0, stage.atlas->cells()), {.count = 30}).genes)
      << "the test cannot tell the parts";
  EXPECT_EQ(std::ssize(scrdit_genes(*stage.atlas, 90)), 90);
}

TEST(ScrditTask, GenesOfLogValuesAreThoseOfLargestVariance) {
  auto const alone = Communicator::serial();
  SharedFolder const folder(alone, "scrdit_log");
  auto const cells = testing_cells::random_cells(50, 40, 0.3, 5);
  std::vector<std::int64_t> nonzeros;
  std::vector<std::uint32_t> genes(cells.indices.begin(), cells.indices.end()), values;
  for (float const value : cells.values) values.push_back(std::bit_cast<std::uint32_t>(value));
  for (std::size_t row = 0; row < 50; ++row) nonzeros.push_back(cells.indptr[row + 1] - cells.indptr[row]);
  AtlasRows rows{.names = {},
                 .source_rows = std::vector<std::int64_t>(50),
                 .parts = std::vector<Part>(50, Part::fit),
                 .columns = {{"cell_type", {"one"}, std::vector<std::int32_t>(50)}}};
  AtlasGenes names;
  for (int gene = 0; gene < 40; ++gene) names.names.push_back(fmt::format("g{}", gene));
  AtlasWriter writer(alone, folder / "atlas.h5ad", {.cells = 50, .genes = 40, .whole = false}, {0, 50}, nonzeros);
  writer.append(genes, values);
  writer.finish(rows, names, {.holds_counts = false, .label = "cell_type"});
  Atlas const atlas(folder / "atlas.h5ad");
  auto const chosen = scrdit_genes(atlas, 12);
  auto const widest = std::get<1>(testing_cells::dense(cells).to(at::kDouble).var(0).topk(12)).to(at::kInt);
  EXPECT_TRUE(at::equal(at::tensor(chosen, at::kInt), std::get<0>(widest.sort())));
}

TEST(ScrditTask, RefusesWhatCannotBeTrained) {
  auto const ranks = Communicator::world();
  Stage const stage(ranks, "scrdit_refuse");
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  auto const refused = [&](ExitCode code, ScrditTraining const& training) {
    return failure_of(code, [&] { ScrditTask(stage.session, *stage.atlas, training, plan); });
  };
  EXPECT_NE(refused(ExitCode::usage, {.genes = 5}).find("fewer than the 10"), std::string::npos);
  EXPECT_NE(refused(ExitCode::usage, {.label = "cell_type", .classes = {"t9"}}).find("'t9' (known are t0, t1, t2)"),
            std::string::npos);
  EXPECT_NE(refused(ExitCode::usage, {.shape = ScrditTransformerShape{.patch = 0}}).find("diffusion.patch"),
            std::string::npos);
  refused(ExitCode::bad_input, {.label = "colour", .classes = {"red"}});
}

}  // namespace
}  // namespace retort
