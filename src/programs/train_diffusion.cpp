// retort-train-diffusion: what makes cells, from those of the fit part: scDD's single-step generator of features,
// scLDM's flow of latents, or scRDiT's diffusion of expression.
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "retort/generate/scdg_task.hpp"
#include "retort/generate/scldm_task.hpp"
#include "retort/generate/scrdit_task.hpp"
#include "retort/ranks/device.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/run/watchdog.hpp"
#include "retort/session/checkpoint.hpp"
#include "retort/session/session.hpp"
#include "retort/training/divergence.hpp"
#include "retort/training/flat_adamw.hpp"
#include "retort/training/learning_rate.hpp"
#include "retort/training/moving_average.hpp"

using namespace retort;

namespace {

// What a model reads beside the atlas, where it is kept, and what it is trained with where the settings leave that
// open.
struct Recipe {
  std::string model, features, what, folder;
  std::int64_t steps = 0, batch = 0, width = 0, blocks = 0;
  double rate = 0, weight_decay = 0, clip = 0;
  double (*rate_at)(std::int64_t step, std::int64_t steps, double first) = nullptr;
};

double falling(std::int64_t step, std::int64_t steps, double first) {
  return first * (1 - static_cast<double>(step) / static_cast<double>(steps));
}
double warmed_up(std::int64_t step, std::int64_t steps, double first) {
  return scldm_rate(step, steps, first, AfterWarmUp::cosine);
}
double constant(std::int64_t, std::int64_t, double first) { return first; }

Recipe recipe_of(std::string const& model) {
  if (model == "scdg")
    return {model, "features.h5ad", "features", "generator", 1500, 128, 0, 0, 1e-3, 1e-4, 0, falling};
  if (model == "scldm") return {model, "latents.h5ad", "latents", "flow", 5000, 128, 256, 8, 5e-4, 0, 10, warmed_up};
  if (model == "scrdit") return {model, "", "", "denoiser", 20'000, 16, 768, 3, 3e-4, 0.01, 0, constant};
  fail(ExitCode::usage, "diffusion.model is '{}' (it is scdg, scldm or scrdit)", model);
}

// Section [diffusion].
struct DiffusionOptions {
  std::string atlas, features, generator;
  std::string model = "scdg", network = "transformer", conditioning = "joint", precision = "float32";
  std::int64_t steps = 0, batch = 0, width = 0, blocks = 0, heads = 8, patch = 10, channels = 64;
  double rate = 0, weight_decay = -1, ema = 0, clip = -1;
  ScdgShape scdg;
  ScldmTraining scldm;
  ScrditTraining scrdit;
  std::vector<std::string> labels;

  // What was left open is the recipe's.
  void complete(Recipe const& recipe) {
    if (steps == 0) steps = recipe.steps;
    if (batch == 0) batch = recipe.batch;
    if (width == 0) width = recipe.width;
    if (blocks == 0) blocks = recipe.blocks;
    if (rate == 0) rate = recipe.rate;
    if (weight_decay == -1) weight_decay = recipe.weight_decay;
    if (clip == -1) clip = recipe.clip;
  }
};

void add_diffusion_options(OptionTable& table, DiffusionOptions& options) {
  table.add("diffusion.atlas", options.atlas, "the atlas; empty: RUN/atlas.h5ad")
      .add("diffusion.features", options.features,
           "scdg: features of its cells, empty: RUN/features.h5ad; scldm: their latents, empty: RUN/latents.h5ad")
      .add("diffusion.generator", options.generator,
           "folder to write; empty: RUN/generator (scdg), RUN/flow (scldm) or RUN/denoiser (scrdit)")
      .add("diffusion.label", options.labels,
           "label column, for scldm also several; empty: the first that ingest was told")
      .add("diffusion.model", options.model,
           "scdg (scDD's single step), scldm (flow matching of an autoencoder's latents) or scrdit (diffusion of "
           "log-normalised expression)")
      .add("diffusion.steps", options.steps, "steps; 0: 1,500 for scdg, 5,000 for scldm, 20,000 for scrdit")
      .add("diffusion.batch", options.batch, "cells a step, over all shards; 0: 128, 16 for scrdit")
      .add("diffusion.rate", options.rate,
           "learning rate; 0: 1e-3 for scdg, which falls linearly to 0; 5e-4 for scldm, which rises and falls to a "
           "tenth; 3e-4 for scrdit, held")
      .add("diffusion.weight_decay", options.weight_decay,
           "of AdamW; -1: 1e-4 for scdg, none for scldm, 0.01 for scrdit")
      .add("diffusion.clip", options.clip, "largest norm of a gradient; 0: any; -1: 10 for scldm, any for the others")
      .add("diffusion.precision", options.precision,
           "of products in training: float32, or bfloat16 with float32 weights, sums and norms")
      .add("diffusion.ema", options.ema,
           "keep of the moving average of weights that is written, less in the first steps: (1 + step) / (10 + step) "
           "at most; 0: the last weights")
      .add("diffusion.hidden", options.scdg.hidden, "scdg: widths of the denoiser's layers")
      .add("diffusion.latent_scale", options.scdg.latent_scale,
           "scdg: features are multiplied by it; 0: the square root of their width")
      .add("diffusion.network", options.network, "scrdit: transformer or unet")
      .add("diffusion.width", options.width, "width of the transformer; 0: 256 for scldm, 768 for scrdit")
      .add("diffusion.blocks", options.blocks, "its blocks; 0: 8 for scldm, 3 for scrdit")
      .add("diffusion.heads", options.heads, "their heads")
      .add("diffusion.patch", options.patch, "scrdit's transformer: genes of a token")
      .add("diffusion.channels", options.channels, "scrdit's unet: channels at full length")
      .add("diffusion.genes", options.scrdit.genes,
           "scrdit: variable genes that it draws, or all where there are fewer, less what fills no patch (of the unet: "
           "no 8)")
      .add("diffusion.zero_value", options.scrdit.zero_value,
           "scrdit: what zeros become in training; 0: they stay zeros")
      .add("diffusion.standardise", options.scrdit.standardise,
           "scrdit: take off the genes' means and divide by one scale before noise is added, which trains several "
           "times as fast; false: as the paper's code")
      .add("diffusion.only", options.scrdit.classes, "scrdit: classes to train on; empty: all cells")
      .add("diffusion.tokens", options.scldm.shape.tokens, "scldm: tokens of a cell, as vae.tokens")
      .add("diffusion.conditioning", options.conditioning,
           "scldm, several columns: joint (one embedding a combination), summed (one a column; knows combinations it "
           "never saw) or additive (guided by one column at a time)")
      .add("diffusion.unlabelled", options.scldm.unlabelled,
           "scldm: share of cells whose labels are dropped, which guidance needs; 0.8 in the public configurations")
      .add("diffusion.leave_out", options.scldm.left_out, "scldm: combinations not to train on, CLASS/CLASS");
}

void check(DiffusionOptions const& options, ShardPlan const& plan) {
  if (options.model != "scldm" && options.labels.size() > 1)
    fail(ExitCode::usage, "diffusion.label names {} columns ({} has one)", options.labels.size(), options.model);
  if (options.batch < plan.shards() || options.batch % plan.shards())
    fail(ExitCode::usage, "diffusion.batch {} cannot be shared by {} shards (each needs the same number of cells)",
         options.batch, plan.shards());
  if (options.steps < 0) fail(ExitCode::usage, "diffusion.steps is {} (it must not be negative)", options.steps);
  if (!(options.rate >= 0) || !(options.clip >= 0))
    fail(ExitCode::usage, "diffusion.rate {} and diffusion.clip {} must not be negative", options.rate, options.clip);
  if (!(options.weight_decay >= 0))
    fail(ExitCode::usage, "diffusion.weight_decay is {} (it must not be negative)", options.weight_decay);
  if (!(options.scldm.unlabelled >= 0 && options.scldm.unlabelled < 1))
    fail(ExitCode::usage, "diffusion.unlabelled is {} (it lies in [0, 1): some cells must keep their labels)",
         options.scldm.unlabelled);
  conditioning_of(options.conditioning), precision_of(options.precision, "diffusion.precision");
  if (!(options.ema >= 0 && options.ema < 1))
    fail(ExitCode::usage, "diffusion.ema is {} (it lies in [0, 1))", options.ema);
  if (!(options.scdg.latent_scale >= 0))
    fail(ExitCode::usage, "diffusion.latent_scale is {} (it must not be negative)", options.scdg.latent_scale);
  if (options.network != "transformer" && options.network != "unet")
    fail(ExitCode::usage, "diffusion.network is '{}' (it is transformer or unet)", options.network);
  if (!(options.scrdit.zero_value <= 0) || std::isinf(options.scrdit.zero_value))
    fail(ExitCode::usage, "diffusion.zero_value is {} (it must be below 0, or 0 for zeros that stay)",
         options.scrdit.zero_value);
  if (options.model != "scldm" && !options.scldm.left_out.empty())
    fail(ExitCode::usage,
         "diffusion.leave_out is for scldm ({} is not told combinations). Ask scrdit for classes by diffusion.only",
         options.model);
  if (options.model != "scrdit" && !options.scrdit.classes.empty())
    fail(ExitCode::usage, "diffusion.only is for scrdit ({} is told classes)", options.model);
}

// Collective.
std::unique_ptr<DiffusionTask> make_task(Session const& session, DiffusionOptions& options, Atlas const& atlas,
                                         std::filesystem::path const& features, ShardPlan const& plan) {
  auto const label = options.labels.empty() ? "" : options.labels.front();
  if (options.model == "scldm") {
    options.scldm.shape.width = options.width, options.scldm.shape.blocks = options.blocks,
    options.scldm.shape.heads = options.heads;
    options.scldm.columns = options.labels;
    options.scldm.conditioning = conditioning_of(options.conditioning);
    return std::make_unique<ScldmTask>(session, atlas, features, options.scldm, plan);
  }
  if (options.model == "scrdit") {
    options.scrdit.label = label;
    if (options.network == "unet")
      options.scrdit.shape = ScrditUnetShape{.channels = options.channels};
    else
      options.scrdit.shape = ScrditTransformerShape{
          .patch = options.patch, .width = options.width, .depth = options.blocks, .heads = options.heads};
    return std::make_unique<ScrditTask>(session, atlas, options.scrdit, plan);
  }
  std::unique_ptr<DiffusionTask> task;
  session.ranks.together(
      [&] { task = std::make_unique<ScdgTask>(session, atlas, features, label, options.scdg, plan); });
  return task;
}

void train(Session& session, DiffusionOptions& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
  Recipe recipe;
  std::vector<std::filesystem::path> inputs{atlas_file};
  session.ranks.together([&] {
    require_cpu(session.run.device);
    recipe = recipe_of(options.model);
    options.complete(recipe);
    check(options, plan);
    require_input(atlas_file, "atlas");
    if (!recipe.features.empty())
      require_input(inputs.emplace_back(session.input(options.features, recipe.features)), recipe.what);
  });
  auto const& trained_on = inputs.back();
  auto const folder = session.product(options.generator, recipe.folder, {"config.json", recipe.model + ".safetensors"});
  if (session.is_done(inputs)) return;

  // Network and cells: the fit part alone, so that held-out and test cells change no weight.
  std::unique_ptr<Atlas> atlas;
  session.ranks.together([&] { atlas = std::make_unique<Atlas>(atlas_file); });
  auto const task = make_task(session, options, *atlas, trained_on, plan);
  auto const steps = options.steps;
  auto const precision = precision_of(options.precision, "diffusion.precision");
  std::int64_t parameters = 0;
  for (auto const& parameter : task->parameters()) parameters += parameter.numel();
  if (session.dry_run) {
    if (session.ranks.is_root())
      std::printf(
          "trained on       %s\nwhat             %s\nparameters       %s\nsteps            %s of %s cells\nshards      "
          "     %d on %d ranks\nmemory a rank    about %s MB\n",
          trained_on.c_str(), task->description().c_str(), with_commas(parameters).c_str(), with_commas(steps).c_str(),
          with_commas(options.batch).c_str(), plan.shards(), plan.ranks(),
          with_commas(
              (parameters * 28 + static_cast<std::int64_t>(std::filesystem::file_size(trained_on)) / plan.ranks()) /
                  1'000'000 +
              300)
              .c_str());
    return;
  }

  GradientArena arena(session.ranks, plan, task->parameters(), 1);
  arena.broadcast_weights();
  FlatAdamw optimiser(arena, {.weight_decay = options.weight_decay});
  std::optional<MovingAverage> average;
  if (options.ema > 0) average.emplace(arena, options.ema);
  auto progress = session.progress("train-diffusion", steps * options.batch, "cells");
  double recent = 0;

  Checkpoints const checkpoints(session);
  auto state = optimiser.state();
  if (average) state["average"] = average->values();
  std::int64_t first_step = 0;
  if (auto const saved = checkpoints.newest()) {
    session.ranks.together([&] { restore(saved->tensors, state); });
    first_step = saved->step;
    recent = saved->facts.at("recent_loss");
  }
  for (std::int64_t step = first_step; step < steps; ++step) {
    Watchdog::set_step(static_cast<long>(step));
    Stopwatch watch;
    double read_seconds = 0, compute_seconds = 0;

    // Forward and backward of this rank's shards: a block of them at once where the network's layers can, else one by
    // one.
    auto const learn = [&](int first, int shards, bool at_once) {
      auto const cells = task->draw(step, first, shards, options.batch / plan.shards());
      read_seconds += watch.lap();
      at::Tensor const loss = task->loss(cells, at_once ? shards : 0, precision) / static_cast<double>(plan.shards());
      loss.backward();
      arena.statistics().add_(loss.detach());
      compute_seconds += watch.lap();
    };
    if (task->takes_blocks() && precision == Precision::float32) {
      for (std::size_t b = 0; b < arena.blocks().size(); ++b) {
        arena.begin_block(b);
        learn(arena.blocks()[b].begin, arena.blocks()[b].width, true);
      }
    } else {
      for (int shard = arena.first_shard(); shard < arena.end_shard(); ++shard) {
        arena.begin_shard(shard);
        learn(shard, 1, false);
      }
    }

    // Sum over shards; the loss rides along, so all ranks see the same.
    at::Tensor const gradient = arena.sum();
    double const loss = arena.summed_statistics()[0].item<double>();
    double const sum_seconds = watch.lap();

    // Refuse what is not finite: the sums are the same on all ranks, so all fail here.
    double const norm = arena.norm();
    require_finite(session.ranks, arena, loss, norm, "Lower diffusion.rate", &checkpoints);

    // Step.
    double const rate = recipe.rate_at(step, steps, options.rate);
    optimiser.step(clipped(gradient, norm, options.clip), rate);
    if (average) average->update(step);

    // Log.
    recent = step ? 0.99 * recent + 0.01 * loss : loss;
    double const step_seconds = watch.lap();
    session.folder.step(
        {"step", "loss", "norm", "rate", "read_seconds", "compute_seconds", "sum_seconds", "step_seconds"},
        {static_cast<double>(step), loss, norm, rate, read_seconds, compute_seconds, sum_seconds, step_seconds});
    progress.update((step + 1) * options.batch, fmt::format("loss {:.4f}", recent));

    // Checkpoint, and stop where asked to.
    Wish const wish = step + 1 < steps ? session.boundary() : Wish::go_on;
    if (wish == Wish::checkpoint || wish == Wish::stop) checkpoints.save({step + 1, state, {{"recent_loss", recent}}});
    if (wish >= Wish::stop) session.stop(wish, fmt::format("step {} of {}", step + 1, steps));
  }
  progress.finish();

  if (average) average->take_over();
  session.ranks.together([&] {
    if (session.ranks.is_root()) task->save(folder);
  });
  session.say(fmt::format("wrote '{}': {}, loss {:.4f}", folder.string(), task->description(), recent));
  session.set_done({folder});
}

}  // namespace

int main(int argc, char** argv) {
  DiffusionOptions options;
  OptionTable table("retort-train-diffusion",
                    "trains what makes cells: scDD's generator of features, scLDM's flow of latents, or scRDiT's "
                    "diffusion of expression");
  add_diffusion_options(table, options);
  return run_program(argc, argv, table, [&](Session& session) { train(session, options); });
}
