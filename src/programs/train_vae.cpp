// retort-train-vae: an autoencoder of counts, from the cells of the fit part; then the latents of all cells.
#include <ATen/ATen.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "retort/cells/feature_file.hpp"
#include "retort/models/foundation.hpp"
#include "retort/models/gene_components.hpp"
#include "retort/programs/sections.hpp"
#include "retort/programs/vae_options.hpp"
#include "retort/ranks/device.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/run/index.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/run/watchdog.hpp"
#include "retort/session/checkpoint.hpp"
#include "retort/session/session.hpp"
#include "retort/training/divergence.hpp"

using namespace retort;

namespace {

// Latents of all cells, each rank its rows, in blocks that begin at fixed rows: a cell's latents have the same bits on
// any number of ranks.
void write_latents(Session& session, Atlas const& atlas, CellVae const& vae, std::filesystem::path const& file,
                   std::string const& weights) {
  auto const rows = share_of(atlas.cells(), session.ranks.rank(), session.ranks.size(), rows_of_an_inference_block);
  std::vector<float> latents(index(rows.size() * vae.width()));  // [rows, width]
  auto progress = session.progress("latents", rows.size(), "cells");
  Stopwatch const watch;
  session.ranks.together([&] {
    for (auto begin = rows.begin; begin < rows.end; begin += rows_of_an_inference_block) {
      auto const end = std::min(rows.end, begin + rows_of_an_inference_block);
      auto const block = vae.embed(atlas.read(begin, end)).contiguous();
      std::copy_n(block.const_data_ptr<float>(), block.numel(), latents.begin() + (begin - rows.begin) * vae.width());
      progress.update(end - rows.begin);
    }
  });
  progress.finish();
  session.ranks.barrier();
  double const seconds = watch.seconds();
  session.folder.note("embedded", {{"cells", atlas.cells()},
                                   {"seconds", seconds},
                                   {"cells_per_second", static_cast<double>(atlas.cells()) / seconds}});
  write_features(session.ranks, file, atlas, rows, latents, vae.width(), weights);
}

// Before hours of training, not in the midst of them: whether all cells fit the padded length.
void require_length(Session& session, Atlas const& atlas, std::int64_t length) {
  auto const rows = share_of(atlas.cells(), session.ranks.rank(), session.ranks.size(), rows_of_an_inference_block);
  std::int64_t const own = session.ranks.together([&] {
    std::int64_t longest = 0;
    for (auto begin = rows.begin; begin < rows.end; begin += rows_of_an_inference_block) {
      auto const block = atlas.read(begin, std::min(rows.end, begin + rows_of_an_inference_block));
      for (std::size_t i = 0; i + 1 < block.indptr.size(); ++i)
        longest = std::max(longest, block.indptr[i + 1] - block.indptr[i]);
    }
    return longest;
  });
  std::int64_t const longest = session.ranks.max(own);
  session.ranks.together([&] {
    if (longest > length)
      fail(ExitCode::bad_input,
           "a cell expresses {} genes (vae.length is {}). Raise vae.length, or set it to 0 for no pads", longest,
           length);
  });
}

// Vectors of genes begin at how genes vary together in the first cells to train on, whose order ingest drew.
void start_at_components(Session const& session, ShardPlan const& plan, Atlas const& atlas, CellVae const& vae) {
  constexpr std::size_t most_cells = 10'000;
  auto const counts = session.ranks.together([&] {
    std::vector<CsrBlock> of_shards;
    auto rows = rows_of_part(atlas, Part::fit);
    rows.resize(std::min(rows.size(), most_cells));
    for (int shard = plan.begin(); shard < plan.end(); ++shard) {
      auto const share = share_of(std::ssize(rows), shard, plan.shards());
      of_shards.push_back(atlas.read(std::span(rows).subspan(index(share.begin), index(share.size()))));
    }
    return of_shards;
  });
  auto const vectors = vae.gene_vectors();
  vectors.copy_(gene_components(session.ranks, plan, counts, vectors));
}

double epoch_steps_of(VaeOptions const& options, BatchStream const& stream) {
  return static_cast<double>(stream.rows()) / static_cast<double>(options.order.batch);
}

void print_plan(VaeOptions const& options, Atlas const& atlas, BatchStream const& stream, ShardPlan const& plan,
                std::int64_t parameters) {
  auto const steps = options.steps_for(stream.rows());
  // Weights, gradients, the sum, two moments and what is in flight; then a shard's cells in their forms on the way.
  auto const memory = parameters * 28 + stream.cells_of_a_shard() * atlas.genes() * 24;
  std::printf(
      "atlas            %s\n"
      "cells to train   %s of %s\n"
      "genes            %s\n"
      "parameters       %s\n"
      "steps            %s of %s cells (%.1f epochs)\n"
      "shards           %d on %d ranks\n"
      "memory per rank  about %s MB\n",
      atlas.file().c_str(), with_commas(stream.rows()).c_str(), with_commas(atlas.cells()).c_str(),
      with_commas(atlas.genes()).c_str(), with_commas(parameters).c_str(), with_commas(steps).c_str(),
      with_commas(options.order.batch).c_str(), static_cast<double>(steps) / epoch_steps_of(options, stream),
      plan.shards(), plan.ranks(), with_commas(memory / 1'000'000 + 300).c_str());
}

// Collective. An atlas of counts.
Atlas open_counts(Session const& session, std::filesystem::path const& file) {
  return session.ranks.together([&] {
    Atlas atlas(file);
    if (!atlas.holds_counts())
      fail(ExitCode::bad_input,
           "'{}' holds log values (the autoencoder is a model of counts). Ingest a file with counts", file.string());
    return atlas;
  });
}

// Collective. Batches of the fit part alone, so that held-out and test cells change no weight.
BatchStream open_stream(Session const& session, VaeOptions const& options, Atlas const& atlas, ShardPlan const& plan) {
  return session.ranks.together([&] {
    BatchStream stream(atlas, rows_of_part(atlas, Part::fit), atlas.labels().codes, options.order, plan,
                       static_cast<std::uint64_t>(session.run.seed), CellValues::counts);
    if (options.is_scvi() && stream.cells_of_a_shard() < 2)
      fail(ExitCode::usage, "vae.batch {} leaves one cell per shard (BatchNorm needs two). Give at least {}",
           options.order.batch, 2 * plan.shards());
    return stream;
  });
}

void train(Session& session, VaeOptions const& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const folder =
      session.product(options.vae, "vae", {"config.json", "scldm_vae.safetensors", "scvi_vae.safetensors"});
  auto const latents_file = session.product(options.latents, "latents.h5ad");
  session.ranks.together([&] { require_cpu(session.run.device), require_input(atlas_file, "atlas"); });
  if (session.is_done({atlas_file})) return;

  // Cells and model.
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  Atlas const atlas = open_counts(session, atlas_file);
  auto const plan =
      session.ranks.together([&] { return ShardPlan(session.run.shards, session.ranks.rank(), session.ranks.size()); });
  BatchStream stream = open_stream(session, options, atlas, plan);
  auto const vae = session.ranks.together([&] { return options.make(atlas.genes(), seed); });
  auto const steps = options.steps_for(stream.rows());
  auto const precision = precision_of(options.precision, "vae.precision");
  double const epoch_steps = epoch_steps_of(options, stream);
  auto const parameters = vae->parameters().count();
  if (session.dry_run) {
    if (session.ranks.is_root()) print_plan(options, atlas, stream, plan, parameters);
    return;
  }

  if (!options.is_scvi() && options.token_genes == "expressed" && options.scldm.length > 0)
    require_length(session, atlas, options.scldm.length);
  Checkpoints const checkpoints(session);
  auto const saved = checkpoints.newest();
  if (!saved && options.starts_at_components()) start_at_components(session, plan, atlas, *vae);
  auto held = std::make_unique<GradientArena>(session.ranks, plan, vae->parameters().tensors(), vae->statistics());
  GradientArena& arena = *held;
  arena.broadcast_weights();
  FlatAdamw optimiser(arena, options.adamw());
  session.say(fmt::format("{} cells, {} genes, {} parameters; {} steps of {} cells", with_commas(stream.rows()),
                          with_commas(atlas.genes()), with_commas(parameters), with_commas(steps),
                          options.order.batch));
  auto progress = session.progress("train-vae", steps * options.order.batch, "cells");
  double recent = 0;

  auto state = optimiser.state();
  state.merge(vae->running());
  std::int64_t first_step = 0;
  if (saved) {
    session.ranks.together([&] { restore(saved->tensors, state); });
    first_step = saved->step;
    recent = saved->facts.at("recent_error");
  }
  for (std::int64_t step = first_step; step < steps; ++step) {
    Watchdog::set_step(static_cast<long>(step));
    Stopwatch watch;
    double read_seconds = 0, compute_seconds = 0;

    // Forward and backward of this rank's shards.
    for (int shard = arena.first_shard(); shard < arena.end_shard(); ++shard) {
      auto batch = stream.shards(step, shard, 1);
      read_seconds += watch.lap();
      arena.begin_shard(shard);
      VaeDraw const draw{
          Random(seed, purpose::vae, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(shard)),
          options.kl_weight_at(step, epoch_steps), precision};
      auto const loss =
          vae->shard_loss(std::make_shared<CsrBlock const>(std::move(batch.cells)), draw, arena.statistics());
      (loss / static_cast<double>(plan.shards())).backward();
      compute_seconds += watch.lap();
    }

    // Sum over shards; losses and BatchNorm's statistics ride along.
    auto const gradient = arena.sum();
    vae->update_running(arena.summed_statistics(), plan.shards());
    auto const means = arena.summed_statistics() / static_cast<double>(plan.shards());
    double const loss = means[0].item<double>(), error = means[1].item<double>(), kl = means[2].item<double>();
    double const sum_seconds = watch.lap();

    // Refuse what is not finite: the sums are the same on all ranks, so all fail here.
    double const norm = arena.norm();
    require_finite(session.ranks, arena, loss, norm, "Lower vae.rate", &checkpoints);

    // Step.
    double const rate = options.rate_at(step, steps);
    optimiser.step(clipped(gradient, norm, options.largest_norm), rate);

    // Log.
    recent = step ? 0.99 * recent + 0.01 * error : error;
    double const step_seconds = watch.lap();
    session.folder.step({"step", "loss", "reconstruction", "kl", "norm", "rate", "read_seconds", "compute_seconds",
                         "sum_seconds", "step_seconds"},
                        {static_cast<double>(step), loss, error, kl, norm, rate, read_seconds, compute_seconds,
                         sum_seconds, step_seconds});
    progress.update((step + 1) * options.order.batch, fmt::format("error {:.2f}", recent));

    // Checkpoint, and stop where asked to.
    Wish const wish = step + 1 < steps ? session.boundary() : Wish::go_on;
    if (wish == Wish::checkpoint || wish == Wish::stop) checkpoints.save({step + 1, state, {{"recent_error", recent}}});
    if (wish >= Wish::stop) session.stop(wish, fmt::format("step {} of {}", step + 1, steps));
  }
  progress.finish();

  held.reset();  // weights are no longer the node's but each rank's own
  vae->finish();
  session.ranks.together([&] {
    if (session.ranks.is_root()) vae->save(folder, {atlas.gene_names(), atlas.identity()});
  });
  write_latents(session, atlas, *vae, latents_file, vae->parameters().hash());
  session.say(fmt::format("wrote '{}' and '{}': {} latents per cell, reconstruction error {:.2f} per cell",
                          folder.string(), latents_file.string(), vae->width(), recent));
  session.set_done({folder, latents_file});
}

}  // namespace

int main(int argc, char** argv) {
  VaeOptions options;
  OptionTable table =
      program_table("train-vae", "trains an autoencoder of counts on an atlas, and writes the latents of all cells");
  add_vae_options(table, options);
  return run_program(argc, argv, table, [&](Session& session) {
    session.ranks.together([&] { options.check(); });
    train(session, options);
  });
}
