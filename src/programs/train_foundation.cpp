// retort-train-foundation: the encoder and decoder that everything later stands on, from the cells of the fit part.
#include <ATen/ATen.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "retort/cells/batch_stream.hpp"
#include "retort/models/scimilarity.hpp"
#include "retort/programs/foundation_options.hpp"
#include "retort/programs/sections.hpp"
#include "retort/ranks/device.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/run/watchdog.hpp"
#include "retort/session/checkpoint.hpp"
#include "retort/session/session.hpp"
#include "retort/training/divergence.hpp"
#include "retort/training/learning_rate.hpp"

using namespace retort;

namespace {

// Takes over the model of another atlas; no cell is read, embedding registers this atlas's genes to the model's.
void import_model(Session& session, FoundationOptions const& options) {
  auto const folder =
      session.product(options.model, "foundation", {"config.json", "encoder.safetensors", "decoder.safetensors"});
  if (session.is_done({options.import})) return;
  session.ranks.together([&] {
    if (!session.ranks.is_root()) return;
    std::filesystem::path const from = options.import;
    auto model = std::filesystem::exists(from / "config.json") ? Foundation::load(from) : import_scimilarity(from);
    session.say(fmt::format("imported '{}': {} genes, {} latents, weights {}", options.import,
                            with_commas(model.shape().genes), model.shape().latent, model.weights_hash()));
    if (!session.dry_run) model.save(folder, model.gene_names(), {{"imported_from", options.import}});
  });
  if (!session.dry_run) session.set_done({folder});
}

void print_plan(FoundationOptions const& options, Atlas const& atlas, std::int64_t fit_cells, ShardPlan const& plan,
                std::int64_t parameters) {
  auto const steps = options.steps_for(fit_cells);
  // Weights, gradients, the sum, two moments; activations are small beside them.
  auto const memory = parameters * std::int64_t{sizeof(float)} * 5;
  std::printf(
      "atlas            %s\n"
      "cells to train   %s of %s\n"
      "genes            %s\n"
      "parameters       %s\n"
      "steps            %s of %s cells (%.1f epochs)\n"
      "shards           %d on %d ranks\n"
      "memory per rank  about %s MB\n",
      atlas.file().c_str(), with_commas(fit_cells).c_str(), with_commas(atlas.cells()).c_str(),
      with_commas(atlas.genes()).c_str(), with_commas(parameters).c_str(), with_commas(steps).c_str(),
      with_commas(options.order.batch).c_str(),
      static_cast<double>(steps * options.order.batch) / static_cast<double>(fit_cells), plan.shards(), plan.ranks(),
      with_commas(memory / 1'000'000 + 300).c_str());
}

// Everything that a step changes, by the names that checkpoints know it under.
std::map<std::string, at::Tensor> training_state(Foundation& model, FlatAdamw const& optimiser) {
  auto state = optimiser.state();
  for (auto* layers : {&model.encoder_layers, &model.decoder_layers}) {
    std::string const half = layers == &model.encoder_layers ? "encoder" : "decoder";
    for (std::size_t i = 0; i < layers->size(); ++i) {
      state[fmt::format("{}.{}.running_mean", half, i)] = (*layers)[i].running_mean;
      state[fmt::format("{}.{}.running_variance", half, i)] = (*layers)[i].running_variance;
    }
  }
  return state;
}

void train(Session& session, FoundationOptions& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const model_folder =
      session.product(options.model, "foundation", {"config.json", "encoder.safetensors", "decoder.safetensors"});
  session.ranks.together([&] { require_input(atlas_file, "atlas"); });
  if (session.is_done({atlas_file})) return;

  // Cells: the fit part alone, so that held-out and test cells change no weight.
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  Atlas const atlas = session.ranks.together([&] { return Atlas(atlas_file); });
  Labels const labels = session.ranks.together([&] { return atlas.labels(options.label); });
  auto const plan =
      session.ranks.together([&] { return ShardPlan(session.run.shards, session.ranks.rank(), session.ranks.size()); });
  BatchStream stream = session.ranks.together([&] {
    BatchStream batches(atlas, rows_of_part(atlas, Part::fit), labels.codes, options.order, plan, seed);
    if (batches.cells_of_a_shard() < 2)
      fail(ExitCode::usage, "foundation.batch {} leaves one cell per shard (BatchNorm needs two). Give at least {}",
           options.order.batch, 2 * plan.shards());
    return batches;
  });
  auto const steps = options.steps_for(stream.rows());

  // Model.
  options.shape.genes = atlas.genes();
  Foundation model = session.ranks.together([&] { return Foundation(options.shape, seed); });
  model.to(choose_device(session.ranks, session.run.device));
  std::int64_t parameters = 0;
  for (auto const& parameter : model.parameters()) parameters += parameter.numel();
  if (session.dry_run) {
    if (session.ranks.is_root()) print_plan(options, atlas, stream.rows(), plan, parameters);
    return;
  }
  FoundationTraining training(model, options.loss);
  GradientArena arena(session.ranks, plan, model.parameters(), training.statistics());
  arena.broadcast_weights();
  FlatAdamw optimiser(arena, options.adamw);

  auto const mix = stream.label_mix(0, std::min<std::int64_t>(steps, 100));
  session.folder.note(
      "batches",
      {{"label_entropy", mix.entropy}, {"label_entropy_ideal", mix.ideal}, {"cells", stream.rows()}, {"steps", steps}});
  session.say(fmt::format(
      "{} cells, {} genes, {} parameters; {} steps of {} cells; label entropy of a batch {:.3f}, ideal {:.3f}",
      with_commas(stream.rows()), with_commas(atlas.genes()), with_commas(parameters), with_commas(steps),
      options.order.batch, mix.entropy, mix.ideal));
  auto progress = session.progress("train-foundation", steps * options.order.batch, "cells");
  StepStatistics losses;

  Checkpoints const checkpoints(session);
  auto const state = training_state(model, optimiser);
  std::int64_t first_step = 0;
  if (auto const saved = checkpoints.newest()) {
    session.ranks.together([&] { restore(saved->tensors, state); });
    first_step = model.trained_steps = saved->step;
  }
  for (std::int64_t step = first_step; step < steps; ++step) {
    Watchdog::set_step(static_cast<long>(step));
    Stopwatch watch;
    double read_seconds = 0, compute_seconds = 0;

    // Forward and backward of this rank's shards, a block of them at once.
    for (std::size_t b = 0; b < arena.blocks().size(); ++b) {
      auto const [first, shards] = arena.blocks()[b];
      auto const block = stream.shards(step, first, shards);
      read_seconds += watch.lap();
      arena.begin_block(b);
      (training.block_loss(block, seed, step, arena.statistics()) / static_cast<double>(plan.shards())).backward();
      compute_seconds += watch.lap();
    }

    // Sum over shards; loss and BatchNorm's statistics ride along.
    auto const gradient = arena.sum();
    losses = training.update_running(arena.summed_statistics(), plan.shards());
    double const sum_seconds = watch.lap();

    // Refuse what is not finite: the sums are the same on all ranks, so all fail here.
    double const norm = arena.norm();
    require_finite(session.ranks, arena, losses.loss, norm, "Lower foundation.rate or set foundation.clip",
                   &checkpoints);

    // Step.
    double const rate = learning_rate(step, steps, options.rate, options.warm_up_share);
    optimiser.step(clipped(gradient, norm, options.largest_norm), rate);

    // Log.
    double const step_seconds = watch.lap();
    session.folder.step({"step", "loss", "reconstruction", "triplet", "triplets", "norm", "rate", "read_seconds",
                         "compute_seconds", "sum_seconds", "step_seconds"},
                        {static_cast<double>(step), losses.loss, losses.reconstruction, losses.triplet, losses.triplets,
                         norm, rate, read_seconds, compute_seconds, sum_seconds, step_seconds});
    progress.update((step + 1) * options.order.batch, fmt::format("loss {:.4f}", losses.loss));

    // Checkpoint, and stop where asked to.
    Wish const wish = step + 1 < steps ? session.boundary() : Wish::go_on;
    if (wish == Wish::checkpoint || wish == Wish::stop) checkpoints.save({step + 1, state, {}});
    if (wish >= Wish::stop) session.stop(wish, fmt::format("step {} of {}", step + 1, steps));
  }
  progress.finish();

  session.ranks.together([&] {
    if (!session.ranks.is_root()) return;
    model.save(model_folder, atlas.gene_names(),
               {{"vocabulary", atlas.vocabulary_hash()},
                {"holds_counts", atlas.holds_counts()},
                {"label", labels.column},
                {"classes", labels.names},
                {"training",
                 {{"cells", stream.rows()},
                  {"steps", steps},
                  {"loss", losses.loss},
                  {"reconstruction", losses.reconstruction},
                  {"triplet", losses.triplet},
                  {"settings", session.table.fingerprint()}}}});
  });
  session.say(fmt::format("wrote '{}': loss {:.4f}, reconstruction {:.4f}, triplet {:.4f}", model_folder.string(),
                          losses.loss, losses.reconstruction, losses.triplet));
  session.set_done({model_folder});
}

}  // namespace

int main(int argc, char** argv) {
  FoundationOptions options;
  OptionTable table =
      program_table("train-foundation", "trains the encoder and decoder of the foundation model on an atlas");
  add_foundation_options(table, options);
  return run_program(argc, argv, table, [&](Session& session) {
    session.ranks.together([&] { options.check(); });
    options.import.empty() ? train(session, options) : import_model(session, options);
  });
}
