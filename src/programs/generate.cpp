// retort-generate: new cells from scLDM's flow of latents, decoded to counts, or from scRDiT's diffusion of expression;
// ranks draw blocks in turn.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "retort/generate/scldm_cells.hpp"
#include "retort/generate/scrdit_cells.hpp"
#include "retort/models/weights_folder.hpp"
#include "retort/programs/sections.hpp"
#include "retort/ranks/device.hpp"
#include "retort/run/index.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/run/watchdog.hpp"
#include "retort/session/checkpoint.hpp"
#include "retort/session/session.hpp"

using namespace retort;

namespace {

// Section [generate].
struct GenerateOptions {
  std::string atlas, vae, generator, output;
  std::string solver;
  std::vector<std::string> only;
  std::int64_t cells = 0, steps = 50;
  std::vector<double> weights;
  double tolerance = 1e-5;
  DdimSettings ddim;
};

void add_generate_options(OptionTable& table, GenerateOptions& options) {
  table
      .add("generate.atlas", options.atlas,
           "atlas whose test part says how many cells of a kind to draw, where generate.cells does not; empty: "
           "RUN/atlas.h5ad")
      .add("generate.vae", options.vae, "folder of the autoencoder, for scldm; empty: RUN/vae")
      .add("generate.generator", options.generator,
           "folder of the generator, which says whether it is scldm's or scrdit's; empty: RUN/flow, or RUN/denoiser "
           "where there is no flow")
      .add("generate.output", options.output, "h5ad to write; empty: RUN/generated.h5ad")
      .add("generate.cells", options.cells, "cells of each kind, of scrdit in all; 0: as many as the test part has")
      .add("generate.only", options.only,
           "scldm: kinds to draw, CLASS or CLASS/CLASS; empty: all that the test part has, or where generate.cells is "
           "set all (of joint conditioning: all that were trained on)")
      .add("generate.weight", options.weights,
           "scldm: weight of the guidance, one per label column; empty: 1 each; 0: no labels")
      .add("generate.solver", options.solver,
           "scldm: dopri5 (adaptive), heun or euler; scrdit: ddim or ddpm; empty: the first")
      .add("generate.steps", options.steps, "steps of heun and euler")
      .add("generate.tolerance", options.tolerance, "absolute and relative, of dopri5")
      .add("generate.stride", options.ddim.stride, "ddim visits one in so many of the 1,000 times")
      .add("generate.eta", options.ddim.eta, "noise that ddim adds on the way: 0 none, 1 as much as ddpm");
}

void check(GenerateOptions const& options, bool is_scrdit) {
  if (is_scrdit && noise_sampler_of(options.solver) == NoiseSampler::ddim)
    ddim_visits(scrdit_schedule().steps(), options.ddim.stride);
  if (!is_scrdit) flow_solver_of(options.solver);
  if (options.cells < 0) fail(ExitCode::usage, "generate.cells is {} (it must not be negative)", options.cells);
  if (options.steps < 1) fail(ExitCode::usage, "generate.steps is {} (it must be at least 1)", options.steps);
  for (double const weight : options.weights)
    if (!(weight >= 0) || std::isinf(weight))
      fail(ExitCode::usage, "generate.weight is {} (it must be finite and not negative)", weight);
  if (!(options.tolerance > 0))
    fail(ExitCode::usage, "generate.tolerance is {} (it must be positive)", options.tolerance);
  if (!(options.ddim.eta >= 0 && options.ddim.eta <= 1))
    fail(ExitCode::usage, "generate.eta is {} (it lies in [0, 1])", options.ddim.eta);
}

void append(std::vector<float>& all, at::Tensor const& block) {
  if (block.defined())
    all.insert(all.end(), block.const_data_ptr<float>(), block.const_data_ptr<float>() + block.numel());
}

// Collective: the blocks of all ranks, in their order, behind what rank 0 has.
void move_to_root(Communicator const& ranks, at::Tensor const& own, std::vector<float>& all) {
  std::vector<std::vector<float>> to(index(ranks.size()));
  append(to.front(), own);
  auto const received = ranks.exchange(to);
  all.insert(all.end(), received.begin(), received.end());
}

std::unique_ptr<CellSource> open(GenerateOptions const& options, bool is_scrdit, std::filesystem::path const& generator,
                                 std::filesystem::path const& vae, std::filesystem::path const& atlas) {
  if (is_scrdit) {
    if (!options.only.empty())
      fail(
          ExitCode::usage,
          "generate.only cannot be asked of '{}' (scrdit knows no labels). Train one for these cells by diffusion.only",
          generator.string());
    return std::make_unique<ScrditCells>(
        generator, atlas,
        ScrditDrawing{.cells = options.cells, .sampler = noise_sampler_of(options.solver), .ddim = options.ddim});
  }
  return std::make_unique<ScldmCells>(
      generator, vae, atlas,
      ScldmDrawing{.cells = options.cells,
                   .only = options.only,
                   .weights = options.weights,
                   .flow = {flow_solver_of(options.solver), options.steps, options.tolerance}});
}

void generate(Session& session, GenerateOptions& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const vae_folder = session.input(options.vae, "vae");
  auto const flow = session.input_if_any(options.generator, "flow"),
             denoiser = session.input_if_any(options.generator, "denoiser");
  auto const output = session.product(options.output, "generated.h5ad");
  auto const folder = !flow.empty() ? flow : !denoiser.empty() ? denoiser : session.input("", "flow");
  bool const is_scrdit = session.ranks.together([&] {
    require_cpu(session.run.device);
    if (options.generator.empty() && !flow.empty() && !denoiser.empty())
      fail(ExitCode::usage, "there are '{}' and '{}' to draw from. Name one by generate.generator", flow.string(),
           denoiser.string());
    auto const model = model_in(folder, "generator");
    if (model != "scrdit" && model != "scldm")
      fail(ExitCode::bad_input, "'{}' holds a model {} (new cells are drawn from scldm and scrdit)", folder.string(),
           model);
    return model == "scrdit";
  });
  if (options.solver.empty()) options.solver = is_scrdit ? "ddim" : "dopri5";
  std::vector<std::filesystem::path> inputs{folder};
  session.ranks.together([&] {
    check(options, is_scrdit);
    if (options.cells == 0) require_input(inputs.emplace_back(atlas_file), "atlas");
    if (!is_scrdit) require_input(inputs.emplace_back(vae_folder), "autoencoder");
  });
  if (session.is_done(inputs, {atlas_file, vae_folder})) return;

  auto const source = session.ranks.together([&] { return open(options, is_scrdit, folder, vae_folder, atlas_file); });
  auto const cells = source->cells(), genes = std::ssize(source->gene_names()),
             rows_of_a_block = source->rows_of_a_block();
  if (session.dry_run) {
    if (session.ranks.is_root())
      std::printf(
          "cells            %s of %s genes\n"
          "values           %s\n"
          "memory per rank  about %s MB, rank 0 %s MB\n",
          with_commas(cells).c_str(), with_commas(genes).c_str(), source->values().c_str(),
          with_commas(rows_of_a_block * genes * 8 / 1'000'000 + 300).c_str(),
          with_commas(cells * genes * 8 / 1'000'000 + 300).c_str());
    return;
  }

  // Noise to cells: a block a rank at a time, in the order of the file, so that what is drawn is its beginning on any
  // number of ranks. Rank 0 holds it: generated sets are small beside atlases.
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  std::vector<float> x, latents;  // [first, genes], [first, width]
  if (session.ranks.is_root()) x.reserve(index(cells * genes));
  std::int64_t first = 0, calls = 0;
  double seconds = 0;
  auto progress = session.progress("generate", cells, "cells");
  Checkpoints const checkpoints(session, Checkpoints::of_root);
  if (auto const saved = checkpoints.newest()) {
    first = saved->step;
    calls = saved->facts.at("calls");
    seconds = saved->facts.at("seconds");
    if (session.ranks.is_root()) append(x, saved->tensors.at("x")), append(latents, saved->tensors.at("latents"));
  }
  auto const save = [&] {
    checkpoints.save({first,
                      {{"x", at::from_blob(x.data(), {std::ssize(x)})},
                       {"latents", at::from_blob(latents.data(), {std::ssize(latents)})}},
                      {{"calls", calls}, {"seconds", seconds}}});
  };
  while (first < cells) {
    Watchdog::set_step(static_cast<long>(first));
    Stopwatch watch;
    auto const begin = first + rows_of_a_block * session.ranks.rank();
    auto const drawn = session.ranks.together([&]() -> std::optional<DrawnCells> {
      c10::InferenceMode const no_graph;
      if (begin >= cells) return DrawnCells();
      try {
        return source->draw({begin, std::min(rows_of_a_block, cells - begin)}, seed,
                            [&] { return !session.hears_stop(); });
      } catch (DrawingGivenUp const&) {
        return std::nullopt;
      }
    });
    if (session.ranks.max(int{!drawn})) {  // a round can last minutes, and may be lost: what earlier ones drew is kept
      if (first > 0) save();
      session.stop(Wish::stop, fmt::format("cell {} of {}", first, cells));
    }
    double const draw_seconds = watch.lap();
    calls += drawn->calls;
    move_to_root(session.ranks, drawn->x, x);
    move_to_root(session.ranks, drawn->latents, latents);
    first = std::min(cells, first + rows_of_a_block * session.ranks.size());
    double const gather_seconds = watch.lap();
    seconds += draw_seconds + gather_seconds;
    session.folder.step({"cells", "draw_seconds", "gather_seconds"},
                        {static_cast<double>(first), draw_seconds, gather_seconds});
    progress.update(first);

    // Checkpoint, and stop where asked to.
    Wish const wish = first < cells ? session.boundary() : Wish::go_on;
    if (wish == Wish::checkpoint || wish == Wish::stop) save();
    if (wish >= Wish::stop) session.stop(wish, fmt::format("cell {} of {}", first, cells));
  }
  progress.finish();
  session.folder.note("generated", {{"cells", cells}, {"seconds", seconds}, {"calls", calls}});

  session.ranks.together([&] {
    if (!session.ranks.is_root()) return;
    constexpr double highest = 14;  // log(1 + 10^6): of a cell that has nothing but one gene, in counts a million
    if (float const most = x.empty() ? 0 : *std::max_element(x.begin(), x.end());
        source->values() == "log_normalised" && most > highest)
      session.say(fmt::format(
          "warning: values up to {:.0f}, which no log-normalised cell has: the network was trained too shortly", most));
    CellSet set{.cells = cells,
                .genes = genes,
                .x = std::move(x),
                .gene_names = source->gene_names(),
                .cell_names = {},
                .columns = source->columns(),
                .obsm = {}};
    if (!latents.empty()) set.obsm.push_back({"X_latent", std::ssize(latents) / cells, std::move(latents)});
    auto facts = source->facts();
    facts.update({{"program", "retort-generate"},
                  {"values", source->values()},
                  {"seed", session.run.seed},
                  {"solver", options.solver}});
    write_cell_set(output, set, {{"retort", facts}});
  });
  session.say(fmt::format("wrote '{}': {} cells, {} calls of the network on rank 0", output.string(),
                          with_commas(cells), with_commas(calls)));
  session.set_done({output});
}

}  // namespace

int main(int argc, char** argv) {
  GenerateOptions options;
  OptionTable table = program_table(
      "generate", "draws new cells from a trained generator: counts from scldm, log-normalised expression from scrdit");
  add_generate_options(table, options);
  table.without_effect("run.shards");
  return run_program(argc, argv, table, [&](Session& session) { generate(session, options); });
}
