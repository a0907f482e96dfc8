// retort-distill: makes SPC synthetic cells a class that teach a classifier what the whole atlas teaches it
// (methods 1.4).
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "retort/distill/chunks.hpp"
#include "retort/distill/distill_inputs.hpp"
#include "retort/distill/distilled_file.hpp"
#include "retort/distill/initial_codes.hpp"
#include "retort/distill/layer_gradients.hpp"
#include "retort/distill/real_side.hpp"
#include "retort/distill/search_state.hpp"
#include "retort/distill/synthetic_set.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/run/watchdog.hpp"
#include "retort/session/checkpoint.hpp"
#include "retort/session/session.hpp"

using namespace retort;

namespace {

constexpr std::uint64_t first_matching_head = std::uint64_t{1}
                                              << 40;  // heads whose gradients are matched, apart from those that judge

void print_plan(DistillInputs const& in, DistillOptions const& options, HeadOptions const& head,
                ShardPlan const& plan) {
  auto const genes = in.foundation->shape().genes;
  std::printf("%-28s %8s %8s %10s %12s\n", "set", "cells", "chunks", "steps", "MB a rank");
  for (std::int64_t const spc : options.spc)
    for (auto const& variant : options.variants)
      for (auto const& matching : matchings_of(variant, options)) {
        std::int64_t const cells = spc * in.labels.classes();
        auto const chunks = plan_chunks(in.labels.classes(), spc, options.chunk_cells, plan.ranks());
        std::int64_t const rates = std::ssize(options.rates), later = options.choose_each_draw ? rates : 1;
        std::int64_t const steps = matching == "none" ? 0 : options.iterations * (rates + (options.draws - 1) * later);
        // The set in its graph and gathered; real features, as they are and packed for gradients and heads; held-out
        // cells; networks.
        std::int64_t const of_set = cells * genes * 4 * (3 / plan.ranks() + 2),
                           of_features = in.atlas->cells() * in.foundation->shape().latent * 4 * 7 / plan.ranks();
        std::int64_t const sparse = HeldOutGenes::most_rows *
                                    (in.atlas->nonzeros() / std::max<std::int64_t>(1, in.atlas->cells())) * 8 /
                                    plan.ranks();
        // Gradients of the real cells that are held at once: of all classes of a head; of one class of an encoder.
        std::int64_t const of_head = in.labels.classes() *
                                     gradient_length(in.labels.classes(), in.foundation->shape().latent, head.hidden) *
                                     4 * 4;
        std::int64_t const of_encoder =
            options.encoder_unfrozen() ? genes * in.foundation->shape().hidden[0] * 4 * 6 : 0;
        std::int64_t const bytes = of_set + of_features + of_head + of_encoder +
                                   std::min(sparse, in.atlas->nonzeros() * 8 / plan.ranks()) + genes * 1024 * 16;
        std::printf("%-28s %8s %8zu %10s %12s\n", fmt::format("{}-{}-spc{}", variant, matching, spc).c_str(),
                    with_commas(cells).c_str(), chunks.size(), with_commas(steps).c_str(),
                    with_commas(bytes / 1'000'000 + 300).c_str());
      }
}

// The student of genes solves for as many numbers as the set has cells, once a class and step of Newton's method.
void require_sizes(DistillInputs const& in, DistillOptions const& options) {
  constexpr std::int64_t most = 2048;
  for (auto const& matching : options.matchings)
    for (std::int64_t const spc : options.spc)
      if (matching_named(matching).genes && spc * in.labels.classes() > most)
        fail(ExitCode::usage,
             "distill.spc {} makes sets of {} cells (matching {} takes {} at most). Match heads alone at this size",
             spc, with_commas(spc * in.labels.classes()), matching, with_commas(most));
}

// Sets of an earlier run with other settings or cells: evaluation would take them for this run's.
void drop_sets(std::filesystem::path const& folder) {
  for (auto const& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".h5ad") std::filesystem::remove(entry.path());
}

void distill(Session& session, DistillOptions const& options, HeadOptions const& head_options) {
  auto const& ranks = session.ranks;
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  ranks.together([&] { check_distill_options(options, head_options); });
  DistillInputs in(session, options);
  ShardPlan const plan(session.run.shards, ranks.rank(), ranks.size());
  ranks.together([&] {
    for (auto const& file : in.files()) require_input(file, "input of distillation");
  });
  if (session.is_done(in.files())) return;
  ranks.together([&] {
    in.open(session, options, head_options, plan);
    require_sizes(in, options);
  });
  if (session.dry_run) {
    if (ranks.is_root()) print_plan(in, options, head_options, plan);
    return;
  }
  if (in.held_out->is_fit_part()) session.say("no cell is held out: rates and steps are chosen on the fit part itself");
  auto const folder = session.product("", "distilled");
  ranks.together([&] {
    std::error_code error;
    if (ranks.is_root()) std::filesystem::create_directories(folder, error);
    if (error) fail(ExitCode::cannot_write, "cannot make folder '{}' ({})", folder.string(), error.message());
  });

  // What does not change while codes do.
  std::int64_t const classes = in.labels.classes(), width = in.real->width();
  GeneMatching::Read const read = [&](auto rows) { return in.reader->read(rows); };
  // The inner loop of gradient matching: DC's plain SGD.
  HeadOptions const epoch{.epochs = 1,
                          .rate = head_options.rate,
                          .momentum = 0,
                          .weight_decay = 0,
                          .batch = head_options.batch,
                          .hidden = head_options.hidden,
                          .scale_features = head_options.scale_features,
                          .rate_falls = false};
  RealSide real(ranks, plan, *in.real, in.feature_scale, {read, in.fit_rows, in.foundation->shape().genes},
                options.matchings,
                {gradient_metric(options.metric, "distill.metric"), head_options.hidden,
                 options.student_expert() ? std::optional(epoch) : std::nullopt,
                 options.encoder_unfrozen() ? in.foundation.get() : nullptr, options.real_cells,
                 head_training_like(head_options, options.head_steps), options.gene_cells, seed});
  HeldOutGenes const held_out_genes(ranks, *in.held_out, read);
  auto const score_steps = score_steps_of(options);

  std::vector<Recipe> recipes;
  for (std::int64_t const spc : options.spc)
    for (auto const& variant : options.variants)
      for (auto const& matching : matchings_of(variant, options))
        recipes.push_back({variant, matching_named(matching), spc});
  bool const all_are_none = std::all_of(recipes.begin(), recipes.end(), [](Recipe const& one) {
    return one.matching.is_none() || one.variant == "features";
  });
  SearchState search;
  search.choices.resize(recipes.size());
  search.table = fmt::format("{:<28} {:>9} {:>6} {:>10} {:>12} {:>10} {:>8}\n", "set", "rate", "steps", "loss",
                             "held out (%)", "genes (%)", "seconds");
  Checkpoints const checkpoints(session);
  auto saved = checkpoints.newest();
  if (saved) search = search_state_of(*saved);
  ranks.together([&] {
    if (ranks.is_root() && !saved) drop_sets(folder);
  });

  for (; search.set < std::ssize(recipes) * options.draws; ++search.set) {
    Stopwatch const watch;
    std::int64_t const draw = search.set % options.draws;
    Recipe const& recipe = recipes[static_cast<std::size_t>(search.set / options.draws)];
    Choice& choice = search.choices[static_cast<std::size_t>(search.set / options.draws)];
    std::string const name = set_name(recipe, draw);
    Generator const generator = generator_of(variant_named(recipe.variant), in.denoiser.get(), *in.foundation);
    auto const chunks = plan_chunks(classes, recipe.spc, options.chunk_cells, ranks.size());
    at::Tensor const labels = at::arange(classes * recipe.spc, at::kLong).div_(recipe.spc, "floor");
    std::int64_t const averaged = recipe.matching.is_none() ? 1 : initial_cells_of(options, recipe.spc);
    auto const start_rows = initial_rows(in.fit_rows, recipe.spc * averaged, seed, draw);
    std::optional<at::Tensor> centres;
    ranks.together([&] { centres = smaller_set_centres(in, folder, recipe, draw, options); });
    CodeOptimiser const optimiser{options.optimiser == "adam", options.momentum, generator.codes_stay_positive,
                                  options.renormalise && generator.start == Generator::Start::latents};

    // The first draw tries all rates and is scored at all of score_steps; later draws take what it chose.
    bool const choose = options.choose_each_draw || !choice.made;
    auto const rates = recipe.matching.is_none() ? std::vector<double>{0}
                       : choose                  ? options.rates
                                                 : std::vector<double>{choice.rate};
    std::int64_t const last = recipe.matching.is_none() ? 0 : choose ? score_steps.back() : choice.iterations;
    auto const loop = inner_loop(options, recipe.spc);
    HeadOptions inner = epoch;
    inner.epochs = loop.inner_epochs;
    // Losses that see the set as a whole have their derivatives by features or cells formed before the step.
    bool const of_whole_set = recipe.matching.head || recipe.matching.genes ||
                              (recipe.matching.gradients && (options.student_expert() || options.encoder_unfrozen()));
    bool const sees_cells = recipe.matching.genes || (recipe.matching.gradients && options.encoder_unfrozen());
    auto progress = session.progress(name, std::ssize(rates) * last, "steps");
    std::unique_ptr<SyntheticSet> set;
    for (; search.rate < std::ssize(rates); ++search.rate, search.iteration = 0) {
      double const rate = rates[static_cast<std::size_t>(search.rate)];
      ranks.together([&] {
        set = std::make_unique<SyntheticSet>(ranks, generator, *in.foundation, chunks, optimiser, [&](RowRange rows) {
          at::Tensor const codes = initial_codes(in, generator, start_rows, averaged, rows);
          if (!centres) return codes;
          return grown_codes(codes, centres->narrow(0, rows.begin / recipe.spc, rows.size() / recipe.spc),
                             generator.codes_stay_positive);
        });
        if (saved) restore_set(*saved, search, *set);
        saved.reset();
      });
      for (;; ++search.iteration) {
        std::int64_t const iteration = search.iteration, done = search.rate * last + iteration;
        Watchdog::set_step(static_cast<long>(iteration));

        // Score on the held-out part; the start is the same for all rates.
        bool const score_now =
            iteration == last || (choose && std::binary_search(score_steps.begin(), score_steps.end(), iteration));
        if (score_now && (iteration > 0 || search.rate == 0)) {
          at::Tensor const features = recipe.variant == "features_decoded" ? set->features_of_cells() : set->features();
          at::Tensor const cells = sees_cells ? set->cells() : at::Tensor();
          double const loss = features.isfinite().all().item<bool>()
                                  ? real.loss(recipe.matching, features, cells, labels, loop.inner_epochs)
                                  : std::nan("");
          if (!std::isfinite(loss)) {
            session.say(fmt::format("{}: rate {} diverged before step {}, left out", name, rate, iteration));
            break;
          }
          double const accuracy =
              in.held_out->accuracy(ranks, features, labels, head_options, options.score_heads, seed);
          session.folder.step({"set", "rate", "step", "loss", "held_out"},
                              {static_cast<double>(search.set), rate, static_cast<double>(iteration), loss, accuracy});
          double const by_genes = recipe.matching.genes ? held_out_genes.accuracy(ranks, cells, labels) : accuracy;
          nlohmann::json score{
              {"set", name}, {"rate", rate}, {"step", iteration}, {"loss", loss}, {"held_out", accuracy}};
          if (recipe.matching.genes) score["held_out_genes"] = by_genes;
          session.folder.note("score", score);
          progress.update(done, fmt::format("rate {} loss {:.4f} held out {:.2f} %", rate, loss, accuracy));
          search.candidates.push_back({accuracy, (accuracy + by_genes) / 2, loss, rate, iteration, set->keep()});
        }
        if (iteration == last) break;

        // The real side of this iteration: class means are constant; gradients are those of a head that is drawn anew
        // every outer_steps steps and learns from the set between them (DC, algorithm 1), or of a student and an expert
        // (scDD, eq 5); matching head trains a fresh one.
        std::int64_t const phase = iteration % loop.outer_steps;
        std::uint64_t const number =
            first_matching_head + (static_cast<std::uint64_t>(draw) << 24) + static_cast<std::uint64_t>(iteration);
        auto const made = of_whole_set ? set->forward(sees_cells) : SyntheticSet::Forward{};
        bool const shared = recipe.matching.gradients && !options.student_expert();
        if (shared && phase == 0) search.head = initial_head(classes, width, seed, number, head_options.hidden);
        if (shared && sees_cells)
          real.aim_at_weights(search.head, number, made.cells);
        else if (shared)
          real.aim_at(search.head, number);
        else if (recipe.matching.gradients)
          real.follow(initial_head(classes, width, seed, number, head_options.hidden), number, made.features, labels,
                      loop.inner_epochs);
        if (recipe.matching.genes) real.train_on_genes(made.cells, labels);
        if (recipe.matching.head) real.train_through(initial_head(classes, width, seed, number), made.features, labels);

        // The synthetic side: each rank its chunks; only codes move.
        set->step(
            [&](Chunk const& chunk, at::Tensor const& features) {
              return match(recipe.matching, real.target(), features, chunk.first_class, chunk.classes);
            },
            rate);
        if (shared && phase + 1 < loop.outer_steps)
          train_further(search.head, set->features(), labels, inner, seed, number);
        progress.update(done + 1);

        // Checkpoint, and stop where asked to.
        Wish const wish = session.boundary();
        if (wish == Wish::checkpoint || wish == Wish::stop) {
          SearchState next = search;
          ++next.iteration;
          checkpoints.save(checkpoint_of(
              next, *set,
              (search.set * std::ssize(options.rates) + search.rate) * (options.iterations + 1) + next.iteration));
        }
        if (wish >= Wish::stop)
          session.stop(wish, fmt::format("step {} of {} of set {}", done + 1, std::ssize(rates) * last, name));
      }
    }
    progress.finish();
    if (search.candidates.empty())
      ranks.together([&] { fail(ExitCode::failed, "{}: no rate gave finite features. Lower distill.rates", name); });
    Candidate const best = search.candidates[best_candidate(search.candidates, in.held_out->cells())];
    if (choose) choice = {true, best.rate, best.iterations};

    // Export the best. The run's product is to serve classifiers of features and of genes.
    set->put_back(best.codes);
    at::Tensor const cells = set->cells(), codes = set->codes();
    double const by_genes = held_out_genes.accuracy(ranks, cells, labels), both = (best.accuracy + by_genes) / 2;
    auto const file = folder / (name + ".h5ad");
    ranks.together([&] {
      session.folder.require_lock();
      if (ranks.is_root()) write_set(in, recipe, draw, best, by_genes, cells, codes, options, session.run.seed, file);
    });
    // A set of features is judged by them, and its cells need not have them; sets that nothing was done to are there to
    // be beaten.
    bool const may_be_product = recipe.variant != "features" && (!recipe.matching.is_none() || all_are_none);
    if (may_be_product && both > search.best_accuracy) search.best_accuracy = both, search.best_set = name;
    double const seconds = watch.seconds();
    session.folder.note("set", {{"set", name},
                                {"file", file.string()},
                                {"rate", best.rate},
                                {"steps", best.iterations},
                                {"held_out", best.accuracy},
                                {"held_out_genes", by_genes},
                                {"seconds", seconds}});
    session.say(fmt::format("{}: rate {}, {} steps, held out {:.2f} % by features, {:.2f} % by genes, {:.1f} s", name,
                            best.rate, best.iterations, best.accuracy, by_genes, seconds));
    search.table += fmt::format("{:<28} {:>9} {:>6} {:>10.4f} {:>12.2f} {:>10.2f} {:>8.1f}\n", name, best.rate,
                                best.iterations, best.loss, best.accuracy, by_genes, seconds);
    search.rate = search.iteration = 0;
    search.candidates.clear();
    search.head = {};
  }

  // The one that did best on the held-out part is the run's product.
  auto const product = session.product("", "distilled.h5ad");
  ranks.together([&] {
    if (!ranks.is_root()) return;
    auto const pending = product.string() + ".pending";
    std::error_code error;
    std::filesystem::copy_file(folder / (search.best_set + ".h5ad"), pending,
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) fail(ExitCode::cannot_write, "cannot write '{}' ({})", pending, error.message());
    publish(pending, product);
    std::fputs(search.table.c_str(), stdout);
  });
  session.say(fmt::format("'{}' is {}", product.string(), search.best_set));
  session.set_done({product, folder});
}

}  // namespace

int main(int argc, char** argv) {
  DistillOptions options;
  HeadOptions head;
  OptionTable table("retort-distill", "makes a few synthetic cells a class that teach what the whole atlas teaches");
  add_distill_options(table, options);
  add_head_options(table, head);
  return run_program(argc, argv, table, [&](Session& session) { distill(session, options, head); });
}
