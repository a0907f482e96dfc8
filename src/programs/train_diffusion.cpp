// retort-train-diffusion: what makes cells, from those of the fit part: scDD's single-step generator of features,
// scLDM's flow of latents, or scRDiT's diffusion of expression.
#include <ATen/ATen.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "retort/generate/scdg_task.hpp"
#include "retort/programs/diffusion_options.hpp"
#include "retort/programs/sections.hpp"
#include "retort/ranks/device.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/run/watchdog.hpp"
#include "retort/session/checkpoint.hpp"
#include "retort/session/session.hpp"
#include "retort/training/divergence.hpp"
#include "retort/training/flat_adamw.hpp"
#include "retort/training/moving_average.hpp"

using namespace retort;

namespace {

// Collective.
std::unique_ptr<DiffusionTask> make_task(Session const& session, DiffusionOptions const& options, Atlas const& atlas,
                                         std::filesystem::path const& trained_on, ShardPlan const& plan) {
  if (options.model == "scldm")
    return std::make_unique<ScldmTask>(session, atlas, trained_on, options.scldm_training(), plan);
  if (options.model == "scrdit") return std::make_unique<ScrditTask>(session, atlas, options.scrdit_training(), plan);
  return session.ranks.together(
      [&] { return std::make_unique<ScdgTask>(session, atlas, trained_on, options.label(), options.scdg, plan); });
}

void print_plan(DiffusionOptions const& options, DiffusionTask const& task, std::filesystem::path const& trained_on,
                ShardPlan const& plan) {
  std::int64_t parameters = 0;
  for (auto const& parameter : task.parameters()) parameters += parameter.numel();
  auto const bytes_of_cells = static_cast<std::int64_t>(std::filesystem::file_size(trained_on)) / plan.ranks();
  std::printf(
      "trained on       %s\n"
      "what             %s\n"
      "parameters       %s\n"
      "steps            %s of %s cells\n"
      "shards           %d on %d ranks\n"
      "memory per rank  about %s MB\n",
      trained_on.c_str(), task.description().c_str(), with_commas(parameters).c_str(),
      with_commas(options.steps).c_str(), with_commas(options.batch).c_str(), plan.shards(), plan.ranks(),
      with_commas((parameters * 28 + bytes_of_cells) / 1'000'000 + 300).c_str());
}

void train(Session& session, DiffusionOptions& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
  auto const recipe = session.ranks.together([&] {
    require_cpu(session.run.device);
    return options.recipe();
  });
  std::vector<std::filesystem::path> inputs{atlas_file};
  if (!recipe.file.empty()) inputs.push_back(session.input(options.features, recipe.file));
  auto const& trained_on = inputs.back();
  session.ranks.together([&] {
    options.complete();
    options.check(plan);
    require_input(atlas_file, "atlas");
    if (!recipe.file.empty()) require_input(trained_on, recipe.what);
  });
  auto const folder = session.product(options.generator, recipe.folder, {"config.json", recipe.model + ".safetensors"});
  if (session.is_done(inputs)) return;

  // Network and cells: the fit part alone, so that held-out and test cells change no weight.
  Atlas const atlas = session.ranks.together([&] { return Atlas(atlas_file); });
  auto const task = make_task(session, options, atlas, trained_on, plan);
  auto const steps = options.steps;
  auto const precision = precision_of(options.precision, "diffusion.precision");
  if (session.dry_run) {
    if (session.ranks.is_root()) print_plan(options, *task, trained_on, plan);
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
  OptionTable table =
      program_table("train-diffusion",
                    "trains what makes cells: scDD's generator of features, scLDM's flow of latents, or scRDiT's "
                    "diffusion of expression");
  add_diffusion_options(table, options);
  return run_program(argc, argv, table, [&](Session& session) { train(session, options); });
}
