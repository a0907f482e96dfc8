// retort-generate: new cells from scLDM's flow of latents, decoded to counts; each rank draws its share.
#include <ATen/ATen.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "retort/files/h5ad_writer.hpp"
#include "retort/generate/count_sampling.hpp"
#include "retort/generate/flow_samplers.hpp"
#include "retort/generate/row_noise.hpp"
#include "retort/generators/scldm_task.hpp"
#include "retort/ranks/session.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/vaes/cell_vae.hpp"

using namespace retort;

namespace {

// Cells that are drawn together: blocks begin at multiples of it, so a cell's bits are the same on any number of ranks.
constexpr std::int64_t rows_of_a_block = 64;

// Section [generate].
struct GenerateOptions {
  std::string atlas, vae, generator, output;
  std::string solver = "dopri5", guidance = "joint";
  std::vector<std::string> only;
  std::int64_t cells = 0, steps = 50;
  std::vector<double> weights;
  double tolerance = 1e-5;
};

void add_generate_options(OptionTable& table, GenerateOptions& options) {
  table.add("generate.atlas", options.atlas, "atlas whose test part says how many cells of a kind to draw; empty: RUN/atlas.h5ad")
      .add("generate.vae", options.vae, "folder of the autoencoder; empty: RUN/vae")
      .add("generate.generator", options.generator, "folder of the flow; empty: RUN/flow")
      .add("generate.output", options.output, "h5ad to write; empty: RUN/generated.h5ad")
      .add("generate.cells", options.cells, "cells of each kind; 0: as many as the test part has")
      .add("generate.only", options.only, "kinds to draw, CLASS or CLASS/CLASS; empty: all that the test part has, or all where generate.cells is set")
      .add("generate.weight", options.weights, "weight of the guidance, one a label column; empty: 1 each; 0: no labels")
      .add("generate.guidance", options.guidance, "joint (all labels at once) or additive (a term a column)")
      .add("generate.solver", options.solver, "dopri5 (adaptive), heun or euler")
      .add("generate.steps", options.steps, "steps of heun and euler")
      .add("generate.tolerance", options.tolerance, "absolute and relative, of dopri5");
}

void check(GenerateOptions const& options) {
  flow_solver_of(options.solver);
  if (options.guidance != "joint" && options.guidance != "additive") fail(ExitCode::usage, "generate.guidance is '{}' (it is joint or additive)", options.guidance);
  if (options.cells < 0 || options.steps < 1) fail(ExitCode::usage, "generate.cells {} must not be negative and generate.steps {} must be at least 1", options.cells, options.steps);
  if (!(options.tolerance > 0)) fail(ExitCode::usage, "generate.tolerance is {} (it must be positive)", options.tolerance);
}

// The combination of each cell to draw, kinds one after the other.
std::vector<std::int64_t> cells_to_draw(GenerateOptions const& options, ScldmGenerator const& generator, Atlas const& atlas) {
  auto const& conditions = generator.conditions;
  std::vector<std::string> columns;
  for (auto const& column : conditions.columns()) columns.push_back(column.name);
  auto const conditioned = conditions_of(atlas, columns);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(conditions.combinations()), options.cells);
  if (options.cells == 0) {
    for (std::size_t row = 0; row < conditioned.combination.size(); ++row)
      if (atlas.parts()[row] == Part::test) ++counts[static_cast<std::size_t>(conditions.of_name(conditioned.conditions.name(conditioned.combination[row])))];
  }
  std::vector<bool> wanted(counts.size(), options.only.empty());
  for (auto const& name : options.only) wanted[static_cast<std::size_t>(conditions.of_name(name))] = true;
  std::vector<std::int64_t> cells;
  for (std::size_t combination = 0; combination < counts.size(); ++combination)
    if (wanted[combination]) cells.insert(cells.end(), static_cast<std::size_t>(counts[combination]), static_cast<std::int64_t>(combination));
  if (cells.empty()) fail(ExitCode::usage, "there is no cell to draw (the test part has none of generate.only) Set generate.cells");
  return cells;
}

void generate(Session& session, GenerateOptions const& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const vae_folder = session.input(options.vae, "vae");
  auto const flow_folder = session.input(options.generator, "flow");
  auto const output = session.product(options.output, "generated.h5ad");
  session.ranks.together([&] {
    check(options);
    require_input(atlas_file, "atlas");
    require_input(vae_folder, "autoencoder");
    require_input(flow_folder, "generator");
  });
  if (session.is_done({atlas_file, vae_folder, flow_folder})) return;

  std::unique_ptr<CellVae> vae;
  ScldmGenerator generator{nullptr, Conditions({}), Conditioning::joint, {}, {}, {}};
  std::vector<std::int64_t> kinds;  // of each cell
  std::vector<double> weights = options.weights;
  session.ranks.together([&] {
    Atlas const atlas(atlas_file);
    vae = load_vae(vae_folder);
    generator = ScldmGenerator::load(flow_folder);
    if (generator.encoder != vae->parameters().hash()) fail(ExitCode::bad_input, "'{}' was trained on latents of another autoencoder than '{}'. Run retort-train-diffusion again", flow_folder.string(), vae_folder.string());
    auto const& shape = generator.network->shape();
    if (shape.tokens * shape.latent != vae->width()) fail(ExitCode::bad_input, "'{}' makes {} latents a cell, '{}' reads {}", flow_folder.string(), shape.tokens * shape.latent, vae_folder.string(), vae->width());
    kinds = cells_to_draw(options, generator, atlas);
    auto const attributes = shape.attributes.size();
    if (weights.empty()) weights.assign(attributes, 1);
    if (weights.size() == 1) weights.assign(attributes, weights.front());
    if (weights.size() != attributes) fail(ExitCode::usage, "generate.weight has {} numbers (the generator has {} label columns)", weights.size(), attributes);
  });
  auto const cells = std::ssize(kinds), genes = static_cast<std::int64_t>(vae->origin.gene_names.size());
  auto const rows = share_of(cells, session.ranks.rank(), session.ranks.size(), rows_of_a_block);
  if (session.dry_run) {
    if (session.ranks.is_root()) std::printf("cells            %s of %s genes, %s a rank\nmemory a rank    about %s MB, rank 0 %s MB\n", with_commas(cells).c_str(), with_commas(genes).c_str(), with_commas(rows.size()).c_str(),
                                             with_commas(rows.size() * genes * 8 / 1'000'000 + 300).c_str(), with_commas(cells * genes * 8 / 1'000'000 + 300).c_str());
    return;
  }

  // Noise to latents to counts, a block of cells after the other.
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  auto const& shape = generator.network->shape();
  auto const conditioning = options.guidance == "additive" ? Guidance::additive : Guidance::joint;
  bool const unlabelled = std::all_of(weights.begin(), weights.end(), [](double weight) { return weight == 0; });
  std::vector<float> counts, latents;  // [rows, genes], [rows, width]
  std::int64_t calls = 0;
  auto progress = session.progress(session.ranks.size() == 1 ? "generate" : "generate, rank 0", rows.size(), "cells");
  Stopwatch const watch;
  session.ranks.together([&] {
    c10::InferenceMode const no_graph;
    for (auto begin = rows.begin; begin < rows.end; begin += rows_of_a_block) {
      auto const n = std::min(rows_of_a_block, rows.end - begin);
      std::vector<std::int64_t> labels;
      std::vector<double> libraries;
      for (auto row = begin; row < begin + n; ++row) {
        auto const kind = kinds[static_cast<std::size_t>(row)];
        auto const of_cell = generator.conditions.labels(kind, generator.conditioning);
        labels.insert(labels.end(), of_cell.begin(), of_cell.end());
        libraries.push_back(generator.sizes.draw(unlabelled ? -1 : kind, seed, row));
      }
      auto const noise = row_noise(seed, {begin, n}, vae->width(), 0).view({n, shape.tokens, shape.latent});
      auto const drawn = flow(guided(*generator.network, at::tensor(labels, at::kLong).view({n, -1}), weights, conditioning), noise, {flow_solver_of(options.solver), options.steps, options.tolerance});
      auto const flat = drawn.state.reshape({n, vae->width()}).contiguous();
      auto const prediction = vae->decode(flat);
      auto const sampled = (prediction.log_theta.defined() ? sample_counts(prediction, libraries, seed, begin) : sample_expression(prediction, seed, begin, true)).contiguous();
      counts.insert(counts.end(), sampled.const_data_ptr<float>(), sampled.const_data_ptr<float>() + sampled.numel());
      latents.insert(latents.end(), flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel());
      calls += drawn.calls;
      progress.update(begin + n - rows.begin);
    }
  });
  progress.finish();
  session.folder.note("generated", {{"cells", cells}, {"seconds", watch.seconds()}, {"calls", calls}});

  // One file, by one rank: generated sets are small beside atlases.
  counts = session.ranks.gather(std::span<float const>(counts));
  latents = session.ranks.gather(std::span<float const>(latents));
  session.ranks.together([&] {
    if (!session.ranks.is_root()) return;
    CellSet set{.cells = cells, .genes = genes, .x = std::move(counts), .gene_names = vae->origin.gene_names, .cell_names = {}, .columns = {}, .obsm = {}};
    auto const& columns = generator.conditions.columns();
    for (std::size_t a = 0; a < columns.size(); ++a) {
      CellSet::Column column{columns[a].name, columns[a].classes, {}};
      for (auto const kind : kinds) column.codes.push_back(static_cast<std::int32_t>(generator.conditions.classes(kind)[a]));
      set.columns.push_back(std::move(column));
    }
    set.obsm.push_back({"X_latent", vae->width(), std::move(latents)});
    write_cell_set(output, set,
                   {{"retort", {{"program", "retort-generate"}, {"seed", session.run.seed}, {"weight", weights}, {"guidance", options.guidance}, {"conditioning", name_of(generator.conditioning)}, {"solver", options.solver}, {"steps", options.steps},
                                {"atlas", generator.atlas}, {"encoder", generator.encoder}}}});
  });
  session.say(fmt::format("wrote '{}': {} cells, {} calls of the network on rank 0", output.string(), with_commas(cells), with_commas(calls)));
  session.set_done({output});
}

}  // namespace

int main(int argc, char** argv) {
  GenerateOptions options;
  OptionTable table("retort-generate", "draws new cells from a trained flow of latents and decodes them to counts");
  add_generate_options(table, options);
  return run_program(argc, argv, table, [&](Session& session) { generate(session, options); });
}
