// retort-train-diffusion: what makes cells: scDD's single-step generator of features, or scLDM's flow of latents, from the cells of the fit part.
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "retort/generators/scdg_task.hpp"
#include "retort/generators/scldm_task.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/ranks/session.hpp"
#include "retort/run/watchdog.hpp"
#include "retort/training/checkpoint.hpp"
#include "retort/training/divergence.hpp"
#include "retort/training/flat_adamw.hpp"
#include "retort/training/learning_rate.hpp"

using namespace retort;

namespace {

// Section [diffusion].
struct DiffusionOptions {
  std::string atlas, features, generator;
  std::string model = "scdg";
  std::int64_t steps = 0, batch = 128;
  double rate = 0, weight_decay = 1e-4, ema = 0, largest_norm = 10;
  ScdgShape scdg;
  ScldmTraining scldm;
  std::string conditioning = "joint";
  std::vector<std::string> labels;

  bool is_scldm() const { return model == "scldm"; }
  // Of scdg: 1,500 steps at 1e-3; of scldm: 5,000 at 5e-4.
  std::int64_t all_steps() const { return steps > 0 ? steps : is_scldm() ? 5000 : 1500; }
  double first_rate() const { return rate > 0 ? rate : is_scldm() ? 5e-4 : 1e-3; }
};

void add_diffusion_options(OptionTable& table, DiffusionOptions& options) {
  table.add("diffusion.atlas", options.atlas, "the atlas; empty: RUN/atlas.h5ad")
      .add("diffusion.features", options.features, "scdg: features of its cells, empty: RUN/features.h5ad; scldm: their latents, empty: RUN/latents.h5ad")
      .add("diffusion.generator", options.generator, "folder to write; empty: RUN/generator (scdg) or RUN/flow (scldm)")
      .add("diffusion.label", options.labels, "label column, for scldm also several; empty: the first that ingest was told")
      .add("diffusion.model", options.model, "scdg (scDD's single step) or scldm (flow matching of an autoencoder's latents)")
      .add("diffusion.steps", options.steps, "steps; 0: 1,500 for scdg, 5,000 for scldm")
      .add("diffusion.batch", options.batch, "cells a step, over all shards")
      .add("diffusion.rate", options.rate, "learning rate; 0: 1e-3 for scdg, which falls linearly to 0, or 5e-4 for scldm, which rises and falls to a tenth")
      .add("diffusion.weight_decay", options.weight_decay, "of AdamW, for scdg; scldm has none")
      .add("diffusion.clip", options.largest_norm, "scldm: largest norm of a gradient; 0: none")
      .add("diffusion.ema", options.ema, "keep of the moving average of weights that is written; 0: the last weights")
      .add("diffusion.hidden", options.scdg.hidden, "scdg: widths of the denoiser's layers")
      .add("diffusion.latent_scale", options.scdg.latent_scale, "scdg: features are multiplied by it; 0: the square root of their width")
      .add("diffusion.tokens", options.scldm.shape.tokens, "scldm: tokens of a cell, as vae.tokens")
      .add("diffusion.width", options.scldm.shape.width, "scldm: width of the transformer")
      .add("diffusion.blocks", options.scldm.shape.blocks, "scldm: its blocks")
      .add("diffusion.heads", options.scldm.shape.heads, "scldm: their heads")
      .add("diffusion.conditioning", options.conditioning, "scldm, several columns: joint (one embedding a combination), summed (one a column; knows combinations it never saw) or additive (guided by one column at a time)")
      .add("diffusion.unlabelled", options.scldm.unlabelled, "scldm: share of cells whose labels are dropped, which guidance needs; 0.8 in the public configurations")
      .add("diffusion.leave_out", options.scldm.left_out, "scldm: combinations not to train on, CLASS/CLASS");
}

void check(DiffusionOptions const& options, ShardPlan const& plan) {
  if (options.model != "scdg" && options.model != "scldm") fail(ExitCode::usage, "diffusion.model is '{}' (it is scdg or scldm)", options.model);
  if (!options.is_scldm() && options.labels.size() > 1) fail(ExitCode::usage, "diffusion.label names {} columns (scdg has one)", options.labels.size());
  if (options.batch < plan.shards() || options.batch % plan.shards())
    fail(ExitCode::usage, "diffusion.batch {} cannot be shared by {} shards (each needs the same number of cells)", options.batch, plan.shards());
  if (options.steps < 0) fail(ExitCode::usage, "diffusion.steps is {} (it must not be negative)", options.steps);
  if (!(options.rate >= 0) || !(options.largest_norm >= 0)) fail(ExitCode::usage, "diffusion.rate {} and diffusion.clip {} must not be negative", options.rate, options.largest_norm);
  if (!(options.scldm.unlabelled >= 0 && options.scldm.unlabelled <= 1)) fail(ExitCode::usage, "diffusion.unlabelled is {} (it lies in [0, 1])", options.scldm.unlabelled);
  conditioning_of(options.conditioning);
  if (!(options.ema >= 0 && options.ema < 1)) fail(ExitCode::usage, "diffusion.ema is {} (it lies in [0, 1))", options.ema);
  if (!(options.scdg.latent_scale >= 0)) fail(ExitCode::usage, "diffusion.latent_scale is {} (it must not be negative)", options.scdg.latent_scale);
}

void train(Session& session, DiffusionOptions& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const features_file = session.input(options.features, options.is_scldm() ? "latents.h5ad" : "features.h5ad");
  auto const folder = session.product(options.generator, options.is_scldm() ? "flow" : "generator");
  ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
  session.ranks.together([&] {
    check(options, plan);
    require_input(atlas_file, "atlas");
    require_input(features_file, options.is_scldm() ? "latents" : "features");
  });
  if (session.is_done({atlas_file, features_file})) return;

  // Network and cells: the fit part alone, so that held-out and test cells change no weight.
  std::unique_ptr<Atlas> atlas;
  session.ranks.together([&] { atlas = std::make_unique<Atlas>(atlas_file); });
  std::unique_ptr<DiffusionTask> task;
  if (options.is_scldm()) {
    options.scldm.columns = options.labels;
    options.scldm.conditioning = conditioning_of(options.conditioning);
    task = std::make_unique<ScldmTask>(session, *atlas, features_file, options.scldm, plan);
  } else {
    session.ranks.together([&] { task = std::make_unique<ScdgTask>(session, *atlas, features_file, options.labels.empty() ? "" : options.labels.front(), options.scdg, plan); });
  }
  auto const steps = options.all_steps();
  std::int64_t parameters = 0;
  for (auto const& parameter : task->parameters()) parameters += parameter.numel();
  if (session.dry_run) {
    if (session.ranks.is_root())
      std::printf("trained on       %s\nwhat             %s\nparameters       %s\nsteps            %s of %s cells\nshards           %d on %d ranks\nmemory a rank    about %s MB\n", features_file.c_str(), task->description().c_str(),
                  with_commas(parameters).c_str(), with_commas(steps).c_str(), with_commas(options.batch).c_str(), plan.shards(), plan.ranks(),
                  with_commas((parameters * 28 + static_cast<std::int64_t>(std::filesystem::file_size(features_file)) / plan.ranks()) / 1'000'000 + 300).c_str());
    return;
  }

  GradientArena arena(session.ranks, plan, task->parameters(), 1);
  arena.broadcast_weights();
  FlatAdamw optimiser(arena, {.weight_decay = options.is_scldm() ? 0 : options.weight_decay});
  at::Tensor average = options.ema > 0 ? arena.weights().clone() : at::Tensor();
  auto progress = session.progress("train-diffusion", steps * options.batch, "cells");
  double recent = 0;

  Checkpoints const checkpoints(session);
  auto state = optimiser.state();
  if (average.defined()) state["average"] = average;
  std::int64_t first_step = 0;
  if (auto const saved = checkpoints.newest()) {
    session.ranks.together([&] { restore(saved->tensors, state); });
    first_step = saved->step;
    recent = saved->facts.at("recent_loss");
  }
  for (std::int64_t step = first_step; step < steps; ++step) {
    Watchdog::set_step(static_cast<long>(step));

    // Forward and backward of this rank's shards: a block of them at once where the network's layers can, else one by one.
    auto const learn = [&](int first, int shards) {
      at::Tensor const loss = task->loss(step, first, shards, options.batch / plan.shards()) / static_cast<double>(plan.shards());
      loss.backward();
      arena.statistics().add_(loss.detach());
    };
    if (task->takes_blocks()) {
      for (std::size_t b = 0; b < arena.blocks().size(); ++b) {
        arena.begin_block(b);
        learn(arena.blocks()[b].begin, arena.blocks()[b].width);
      }
    } else {
      for (int shard = arena.first_shard(); shard < arena.end_shard(); ++shard) {
        arena.begin_shard(shard);
        learn(shard, 1);
      }
    }

    // Sum over shards; the loss rides along, so all ranks see the same.
    at::Tensor const gradient = arena.sum();
    double const loss = arena.summed_statistics()[0].item<double>();
    double const norm = arena.norm();
    require_finite(session.ranks, arena, loss, norm, "Lower diffusion.rate");

    // Step.
    double const falling = 1 - static_cast<double>(step) / static_cast<double>(steps);
    double const rate = options.is_scldm() ? scldm_rate(step, steps, options.first_rate(), AfterWarmUp::cosine) : options.first_rate() * falling;
    optimiser.step(options.is_scldm() ? clipped(gradient, norm, options.largest_norm) : gradient, rate);
    if (average.defined()) average.lerp_(arena.weights(), 1 - options.ema);

    // Log.
    recent = step ? 0.99 * recent + 0.01 * loss : loss;
    session.folder.step({"step", "loss", "norm", "rate"}, {static_cast<double>(step), loss, norm, rate});
    progress.update((step + 1) * options.batch, fmt::format("loss {:.4f}", recent));

    // Checkpoint, and stop where asked to.
    Wish const wish = step + 1 < steps ? session.boundary() : Wish::go_on;
    if (wish == Wish::checkpoint || wish == Wish::stop) checkpoints.save({step + 1, state, {{"recent_loss", recent}}});
    if (wish >= Wish::stop) session.stop(wish, fmt::format("step {} of {}", step + 1, steps));
  }
  progress.finish();

  if (average.defined()) arena.weights().copy_(average);
  session.ranks.together([&] {
    if (session.ranks.is_root()) task->save(folder);
  });
  session.say(fmt::format("wrote '{}': {}, loss {:.4f}", folder.string(), task->description(), recent));
  session.set_done({folder});
}

}  // namespace

int main(int argc, char** argv) {
  DiffusionOptions options;
  OptionTable table("retort-train-diffusion", "trains what makes cells: scDD's generator of features, or scLDM's flow of latents");
  add_diffusion_options(table, options);
  return run_program(argc, argv, table, [&](Session& session) { train(session, options); });
}
