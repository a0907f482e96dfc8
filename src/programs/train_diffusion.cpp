// retort-train-diffusion: scDD's generator of latents, trained on the features of the fit part (methods 1.3).
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "retort/cells/batch_stream.hpp"
#include "retort/cells/feature_file.hpp"
#include "retort/matching/real_features.hpp"
#include "retort/denoisers/scdg.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/ranks/session.hpp"
#include "retort/run/random.hpp"
#include "retort/run/watchdog.hpp"
#include "retort/training/checkpoint.hpp"
#include "retort/training/divergence.hpp"
#include "retort/training/flat_adamw.hpp"

using namespace retort;

namespace {

// Section [diffusion].
struct DiffusionOptions {
  std::string atlas, features, generator, label;
  std::string model = "scdg";
  std::int64_t steps = 1500, batch = 128;
  double rate = 1e-3, weight_decay = 1e-4, ema = 0;
  ScdgShape shape;
};

void add_diffusion_options(OptionTable& table, DiffusionOptions& options) {
  table.add("diffusion.atlas", options.atlas, "the atlas; empty: RUN/atlas.h5ad")
      .add("diffusion.features", options.features, "features of its cells; empty: RUN/features.h5ad")
      .add("diffusion.generator", options.generator, "folder to write; empty: RUN/generator")
      .add("diffusion.label", options.label, "label column; empty: the first that ingest was told")
      .add("diffusion.model", options.model, "scdg")
      .add("diffusion.steps", options.steps, "steps")
      .add("diffusion.batch", options.batch, "cells a step, over all shards")
      .add("diffusion.rate", options.rate, "learning rate of the first step; it falls linearly to 0")
      .add("diffusion.weight_decay", options.weight_decay, "of AdamW")
      .add("diffusion.ema", options.ema, "keep of the moving average of weights that is written; 0: the last weights")
      .add("diffusion.hidden", options.shape.hidden, "widths of the denoiser's layers")
      .add("diffusion.latent_scale", options.shape.latent_scale, "features are multiplied by it; 0: the square root of their width");
}

void check(DiffusionOptions const& options, ShardPlan const& plan) {
  if (options.model != "scdg") fail(ExitCode::usage, "diffusion.model is '{}' (the only one is scdg)", options.model);
  if (options.batch < plan.shards() || options.batch % plan.shards())
    fail(ExitCode::usage, "diffusion.batch {} cannot be shared by {} shards (each needs the same number of cells)", options.batch, plan.shards());
  if (options.steps < 1) fail(ExitCode::usage, "diffusion.steps is {} (it must be at least 1)", options.steps);
  if (!(options.ema >= 0 && options.ema < 1)) fail(ExitCode::usage, "diffusion.ema is {} (it lies in [0, 1))", options.ema);
  if (!(options.shape.latent_scale >= 0)) fail(ExitCode::usage, "diffusion.latent_scale is {} (it must not be negative)", options.shape.latent_scale);
}

// The cells that one shard draws from: its share of the fit rows (rows are shuffled, so a share is a sample), or all of
// them where there are fewer than shards.
struct ShardCells {
  at::Tensor latents;                 // [cells, latent], scaled
  std::vector<std::int64_t> classes;  // [cells]
};

ShardCells read_shard(std::filesystem::path const& file, std::vector<std::int64_t> const& fit_rows, Labels const& labels, int shard,
                      int shards, double scale) {
  auto const all = static_cast<std::int64_t>(fit_rows.size());
  RowRange const share = all >= shards ? share_of(all, shard, shards) : RowRange{0, all};
  std::span<std::int64_t const> const rows(fit_rows.data() + share.begin, static_cast<std::size_t>(share.size()));
  ShardCells cells{read_feature_rows(file, rows) * scale, {}};
  for (std::int64_t const row : rows) cells.classes.push_back(labels.codes[static_cast<std::size_t>(row)]);
  return cells;
}

// What a shard sees in one step. Cells, times and noise are drawn from (seed, step, shard).
struct NoisyBatch {
  at::Tensor clean, noisy;  // [n, latent]
  at::Tensor t, classes;    // int64 [n]
};

NoisyBatch draw_batch(ShardCells const& cells, std::int64_t n, NoiseSchedule const& schedule, Random random) {
  std::int64_t const width = cells.latents.size(1);
  NoisyBatch batch{at::empty({n, width}), at::empty({n, width}), at::empty({n}, at::kLong), at::empty({n}, at::kLong)};
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint64_t const cell = random.below(cells.classes.size());
    std::int64_t const t = 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(schedule.steps())));
    batch.t.data_ptr<std::int64_t>()[i] = t;
    batch.classes.data_ptr<std::int64_t>()[i] = cells.classes[cell];
    auto const keep = static_cast<float>(std::sqrt(schedule.alpha_bar(t))), spread = static_cast<float>(std::sqrt(1 - schedule.alpha_bar(t)));
    float const* const from = cells.latents.const_data_ptr<float>() + static_cast<std::int64_t>(cell) * width;
    for (std::int64_t j = 0; j < width; ++j) {
      batch.clean.data_ptr<float>()[i * width + j] = from[j];
      batch.noisy.data_ptr<float>()[i * width + j] = keep * from[j] + spread * static_cast<float>(random.normal());
    }
  }
  return batch;
}

void train(Session& session, DiffusionOptions& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const features_file = session.input(options.features, "features.h5ad");
  auto const folder = session.product(options.generator, "generator");
  ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
  session.ranks.together([&] {
    check(options, plan);
    require_input(atlas_file, "atlas");
    require_input(features_file, "features");
  });
  if (session.is_done({atlas_file, features_file})) return;

  // Cells: the fit part alone, so that held-out and test cells change no weight.
  Labels labels;
  std::vector<std::int64_t> fit_rows;
  std::string encoder, atlas_identity;
  std::vector<ShardCells> cells;  // of this rank's shards
  std::unique_ptr<Scdg> model;
  session.ranks.together([&] {
    Atlas const atlas(atlas_file);
    labels = atlas.labels(options.label);
    fit_rows = rows_of_part(atlas, Part::fit);
    if (fit_rows.empty()) fail(ExitCode::bad_input, "'{}' has no cell in its fit part (nothing to train on)", atlas_file.string());
    Features const first = read_features(features_file, {0, 1});
    require_features_of(atlas, features_file, first);
    encoder = first.encoder;
    atlas_identity = atlas.identity();
    options.shape.latent = first.width;
    options.shape.classes = labels.classes();
    model = std::make_unique<Scdg>(options.shape, static_cast<std::uint64_t>(session.run.seed));
    for (int shard = plan.begin(); shard < plan.end() && !session.dry_run; ++shard)
      cells.push_back(read_shard(features_file, fit_rows, labels, shard, plan.shards(), model->shape().latent_scale));
  });
  std::int64_t parameters = 0;
  for (auto const& parameter : model->parameters()) parameters += parameter.numel();
  if (session.dry_run) {
    if (session.ranks.is_root())
      std::printf("features         %s\ncells to train   %s\nclasses          %s\nparameters       %s\nsteps            %s of %s cells\nshards           %d on %d ranks\nmemory a rank    about %s MB\n",
                  features_file.c_str(), with_commas(std::ssize(fit_rows)).c_str(), with_commas(labels.classes()).c_str(), with_commas(parameters).c_str(),
                  with_commas(options.steps).c_str(), with_commas(options.batch).c_str(), plan.shards(), plan.ranks(),
                  with_commas((parameters * 28 + std::ssize(fit_rows) * options.shape.latent * 4 / plan.ranks()) / 1'000'000 + 300).c_str());
    return;
  }

  NoiseSchedule const schedule;
  GradientArena arena(session.ranks, plan, model->parameters(), 1);
  arena.broadcast_weights();
  FlatAdamw optimiser(arena.weights(), {.weight_decay = options.weight_decay});
  at::Tensor average = options.ema > 0 ? arena.weights().clone() : at::Tensor();
  auto progress = session.progress("train-diffusion", options.steps * options.batch, "cells");
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
  for (std::int64_t step = first_step; step < options.steps; ++step) {
    Watchdog::set_step(static_cast<long>(step));

    // Forward and backward of this rank's shards: predict the clean latents (scDD eq 3).
    for (int shard = arena.first_shard(); shard < arena.end_shard(); ++shard) {
      Random const random(static_cast<std::uint64_t>(session.run.seed), purpose::diffusion, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(shard));
      NoisyBatch const batch = draw_batch(cells[static_cast<std::size_t>(shard - plan.begin())], options.batch / plan.shards(), schedule, random);
      arena.begin_shard(shard);
      at::Tensor const loss = at::mse_loss(model->denoise(batch.noisy, batch.t, batch.classes), batch.clean) / static_cast<double>(plan.shards());
      loss.backward();
      arena.statistics().add_(loss.detach());
    }

    // Sum over shards; the loss rides along, so all ranks see the same.
    at::Tensor const gradient = arena.sum();
    double const loss = arena.summed_statistics()[0].item<double>();
    double const norm = gradient_norm(gradient);
    require_finite(session.ranks, arena, loss, norm, "Lower diffusion.rate");

    // Step.
    double const rate = options.rate * (1 - static_cast<double>(step) / static_cast<double>(options.steps));
    optimiser.step(gradient, rate);
    if (average.defined()) average.lerp_(arena.weights(), 1 - options.ema);

    // Log.
    recent = step ? 0.99 * recent + 0.01 * loss : loss;
    session.folder.step({"step", "loss", "norm", "rate"}, {static_cast<double>(step), loss, norm, rate});
    progress.update((step + 1) * options.batch, fmt::format("loss {:.4f}", recent));

    // Checkpoint, and stop where asked to.
    Wish const wish = step + 1 < options.steps ? session.boundary() : Wish::go_on;
    if (wish == Wish::checkpoint || wish == Wish::stop) checkpoints.save({step + 1, state, {{"recent_loss", recent}}});
    if (wish >= Wish::stop) session.stop(wish, fmt::format("step {} of {}", step + 1, options.steps));
  }
  progress.finish();

  if (average.defined()) arena.weights().copy_(average);
  session.ranks.together([&] {
    if (session.ranks.is_root()) model->save(folder, labels.names, encoder, atlas_identity);
  });
  session.say(fmt::format("wrote '{}': {} classes, loss {:.4f} of scaled latents", folder.string(), labels.classes(), recent));
  session.set_done({folder});
}

}  // namespace

int main(int argc, char** argv) {
  DiffusionOptions options;
  OptionTable table("retort-train-diffusion", "trains the generator of latents on the features of an atlas");
  add_diffusion_options(table, options);
  return run_program(argc, argv, table, [&](Session& session) { train(session, options); });
}
