// retort-distill: makes a few synthetic cells per class that teach a classifier what the whole atlas teaches it
// (methods 1.4).
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "retort/distill/chunks.hpp"
#include "retort/distill/distill_inputs.hpp"
#include "retort/distill/distill_plan.hpp"
#include "retort/distill/distilled_file.hpp"
#include "retort/distill/initial_codes.hpp"
#include "retort/distill/matching.hpp"
#include "retort/distill/search_state.hpp"
#include "retort/distill/synthetic_set.hpp"
#include "retort/programs/sections.hpp"
#include "retort/run/index.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/run/watchdog.hpp"
#include "retort/session/checkpoint.hpp"
#include "retort/session/session.hpp"

using namespace retort;

namespace {

// What does not change while codes do.
struct Distillation {
  Session& session;
  DistillInputs& in;
  DistillOptions const& options;
  HeadOptions const& head;
  RealSide const& real;
  HeldOutGenes const& held_out_genes;
  std::filesystem::path folder;
  std::uint64_t seed;
};

// One set: a kind of set and a draw of initial cells, with all that is chosen before its loop.
struct SetSearch {
  Recipe const& recipe;
  std::int64_t draw;
  std::string name;
  Variant variant;
  std::unique_ptr<Matching> matching;
  std::vector<Chunk> chunks;
  at::Tensor labels;  // int64 [classes * spc]
  CodeOptimiser optimiser;
  bool chooses;  // the first draw tries all rates and is scored at all of score_steps; later draws take what it chose
  std::vector<double> rates;
  std::int64_t last;  // steps of a rate
  std::function<at::Tensor(RowRange)> start;
};

std::unique_ptr<SetSearch> set_search(Distillation const& run, Recipe const& recipe, std::int64_t draw,
                                      Choice const& choice) {
  auto const& options = run.options;
  auto const& ranks = run.session.ranks;
  std::int64_t const classes = run.in.labels.classes();
  bool const chooses = options.choose_each_draw || !choice.made;
  auto one = std::make_unique<SetSearch>(
      SetSearch{.recipe = recipe,
                .draw = draw,
                .name = set_name(recipe, draw),
                .variant = variant_of(variant_kind(recipe.variant), run.in.denoiser.get(), *run.in.foundation),
                .matching = choose_matching(recipe.matching, run.real, options, run.head, recipe.spc),
                .chunks = plan_chunks(classes, recipe.spc, options.chunk_cells, ranks.size()),
                .labels = at::arange(classes * recipe.spc, at::kLong).div_(recipe.spc, "floor"),
                .optimiser = {},
                .chooses = chooses,
                .rates = chooses ? options.rates : std::vector<double>{choice.rate},
                .last = chooses ? options.iterations : choice.iterations,
                .start = {}});
  if (recipe.matching.is_none()) one->rates = {0}, one->last = 0;
  one->optimiser = {options.optimiser == "adam", options.momentum, one->variant.codes_stay_positive,
                    options.renormalise && one->variant.start == Variant::Start::latents};
  ranks.together([&] { one->start = start_of_set(run.in, recipe, draw, one->variant, options, run.seed, run.folder); });
  return one;
}

// Scores the set as it is on the held-out part and makes it a candidate. False where it has diverged.
bool score(Distillation const& run, SetSearch const& one, SyntheticSet const& set, SearchState& search,
           Progress& progress) {
  auto const& ranks = run.session.ranks;
  double const rate = one.rates[index(search.rate)];
  at::Tensor const features = one.variant.kind.is_judged_decoded ? set.features_of_cells() : set.features();
  at::Tensor const cells = one.matching->sees_cells() ? set.cells() : at::Tensor();
  double const loss = features.isfinite().all().item<bool>() ? one.matching->loss(features, cells) : std::nan("");
  if (!std::isfinite(loss)) {
    run.session.say(fmt::format("{}: rate {} diverged before step {}, left out", one.name, rate, search.iteration));
    return false;
  }
  double const accuracy =
      run.in.held_out->accuracy(ranks, features, one.labels, run.head, run.options.score_heads, run.seed);
  bool const matches_genes = one.recipe.matching.genes;
  double const by_genes = matches_genes ? run.held_out_genes.accuracy(ranks, cells, one.labels) : accuracy;
  run.session.folder.step(
      {"set", "rate", "step", "loss", "held_out"},
      {static_cast<double>(search.set), rate, static_cast<double>(search.iteration), loss, accuracy});
  nlohmann::json note{
      {"set", one.name}, {"rate", rate}, {"step", search.iteration}, {"loss", loss}, {"held_out", accuracy}};
  if (matches_genes) note["held_out_genes"] = by_genes;
  run.session.folder.note("score", note);
  progress.update(search.rate * one.last + search.iteration,
                  fmt::format("rate {} loss {:.4f} held out {:.2f} %", rate, loss, accuracy));
  search.candidates.push_back({accuracy, (accuracy + by_genes) / 2, loss, rate, search.iteration, set.keep()});
  return true;
}

// Writes the best state of a set. The run's product is to serve classifiers of features and of genes.
void write_best(Distillation const& run, SetSearch const& one, SyntheticSet& set, SearchState& search, Choice& choice,
                bool may_be_product, Stopwatch const& watch) {
  Session& session = run.session;
  auto const& ranks = session.ranks;
  if (search.candidates.empty())
    ranks.together([&] { fail(ExitCode::failed, "{}: no rate gave finite features. Lower distill.rates", one.name); });
  Candidate const best = search.candidates[best_candidate(search.candidates, run.in.held_out->cells())];
  if (one.chooses) choice = {true, best.rate, best.iterations};

  set.put_back(best.codes);
  at::Tensor const cells = set.cells(), codes = set.codes();
  double const by_genes = run.held_out_genes.accuracy(ranks, cells, one.labels), both = (best.accuracy + by_genes) / 2;
  auto const file = run.folder / (one.name + ".h5ad");
  ranks.together([&] {
    session.folder.require_lock();
    if (ranks.is_root())
      write_set(run.in, one.recipe, one.draw, best, by_genes, cells, codes, run.options, session.run.seed, file);
  });
  if (may_be_product && both > search.best_accuracy) search.best_accuracy = both, search.best_set = one.name;
  double const seconds = watch.seconds();
  session.folder.note("set", {{"set", one.name},
                              {"file", file.string()},
                              {"rate", best.rate},
                              {"steps", best.iterations},
                              {"held_out", best.accuracy},
                              {"held_out_genes", by_genes},
                              {"seconds", seconds}});
  session.say(fmt::format("{}: rate {}, {} steps, held out {:.2f} % by features, {:.2f} % by genes, {:.1f} s", one.name,
                          best.rate, best.iterations, best.accuracy, by_genes, seconds));
  search.table += fmt::format("{:<28} {:>9} {:>6} {:>10.4f} {:>12.2f} {:>10.2f} {:>8.1f}\n", one.name, best.rate,
                              best.iterations, best.loss, best.accuracy, by_genes, seconds);
}

// The set that did best on the held-out part is the run's product.
void publish_product(Session& session, SearchState const& search, std::filesystem::path const& folder) {
  auto const product = session.product("", "distilled.h5ad");
  session.ranks.together([&] {
    if (!session.ranks.is_root()) return;
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

// Makes the folder of sets. Sets of an earlier run with other settings or cells go: evaluation would take them for this
// run's.
std::filesystem::path folder_of_sets(Session& session, bool goes_on) {
  auto const folder = session.product("", "distilled");
  session.ranks.together([&] {
    if (!session.ranks.is_root()) return;
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) fail(ExitCode::cannot_write, "cannot make folder '{}' ({})", folder.string(), error.message());
    if (goes_on) return;
    for (auto const& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().extension() == ".h5ad") std::filesystem::remove(entry.path());
  });
  return folder;
}

void distill(Session& session, DistillOptions const& options, HeadOptions const& head) {
  auto const& ranks = session.ranks;
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  ranks.together([&] { check_distill_options(options, head); });
  DistillInputs in(session, options);
  ShardPlan const plan(session.run.shards, ranks.rank(), ranks.size());
  ranks.together([&] {
    for (auto const& file : in.files()) require_input(file, "input of distillation");
  });
  if (session.is_done(in.files())) return;
  ranks.together([&] {
    in.open(session, options, head, plan);
    require_sizes(in, options);
  });
  if (session.dry_run) {
    if (ranks.is_root()) print_distill_plan(in, options, head, plan);
    return;
  }
  if (in.held_out->is_fit_part()) session.say("no cell is held out: rates and steps are chosen on the fit part itself");

  // The real side, and what has been done before.
  GeneMatching::Read const read = [&](auto rows) { return in.reader->read(rows); };
  RealSide const real(ranks, plan, *in.real, in.feature_scale, {read, in.fit_rows, in.foundation->shape().genes},
                      options.matchings, real_side_options(options, head, *in.foundation, seed));
  HeldOutGenes const held_out_genes(ranks, *in.held_out, read);
  Checkpoints const checkpoints(session);
  auto saved = checkpoints.newest();
  Distillation const run{session, in, options, head, real, held_out_genes, folder_of_sets(session, saved.has_value()),
                         seed};
  auto const recipes = recipes_of(options);
  bool const all_are_none = std::all_of(recipes.begin(), recipes.end(), [](Recipe const& one) {
    return one.matching.is_none() || one.variant == "features";
  });
  SearchState search = saved ? search_state_of(*saved) : first_search_state(recipes.size());
  auto const score_steps = score_steps_of(options);

  // Every set: each kind of set and draw.
  for (; search.set < std::ssize(recipes) * options.draws; ++search.set) {
    Stopwatch const watch;
    Recipe const& recipe = recipes[index(search.set / options.draws)];
    Choice& choice = search.choices[index(search.set / options.draws)];
    auto const one = set_search(run, recipe, search.set % options.draws, choice);
    Matching& matching = *one->matching;
    auto progress = session.progress(one->name, std::ssize(one->rates) * one->last, "steps");
    std::unique_ptr<SyntheticSet> set;

    // Every rate, from the same start.
    for (; search.rate < std::ssize(one->rates); ++search.rate, search.iteration = 0) {
      double const rate = one->rates[index(search.rate)];
      ranks.together([&] {
        set = std::make_unique<SyntheticSet>(ranks, one->variant, *in.foundation, one->chunks, one->optimiser,
                                             one->start);
        if (saved) restore_set(*saved, search, *set, matching);
        saved.reset();
      });

      for (;; ++search.iteration) {
        Watchdog::set_step(static_cast<long>(search.iteration));
        MatchingStep const step{one->draw, search.iteration};
        bool const is_last = search.iteration == one->last;

        // Score on the held-out part; the start is the same for all rates.
        bool const is_scored =
            is_last || (one->chooses && std::binary_search(score_steps.begin(), score_steps.end(), search.iteration));
        if (is_scored && (search.iteration > 0 || search.rate == 0) && !score(run, *one, *set, search, progress)) break;
        if (is_last) break;

        // The real side, the step of each rank's chunks, and what learns from the set that moved.
        matching.prepare(step, matching.sees_set() ? set->forward(matching.sees_cells()) : SyntheticSet::Forward{});
        set->step([&](Chunk const& chunk, at::Tensor const& features) { return matching.match(chunk, features); },
                  rate);
        matching.learn(step, *set);
        std::int64_t const done = search.rate * one->last + search.iteration + 1;
        progress.update(done);

        // Checkpoint, and stop where asked to.
        Wish const wish = session.boundary();
        if (wish == Wish::checkpoint || wish == Wish::stop) {
          SearchState next = search;
          ++next.iteration;
          std::int64_t const number =
              (search.set * std::ssize(options.rates) + search.rate) * (options.iterations + 1) + next.iteration;
          checkpoints.save(checkpoint_of(next, *set, matching, number));
        }
        if (wish >= Wish::stop)
          session.stop(wish,
                       fmt::format("step {} of {} of set {}", done, std::ssize(one->rates) * one->last, one->name));
      }
    }
    progress.finish();

    // Sets that nothing was done to are there to be beaten.
    bool const may_be_product = one->variant.kind.may_be_product && (!recipe.matching.is_none() || all_are_none);
    write_best(run, *one, *set, search, choice, may_be_product, watch);
    search.rate = search.iteration = 0;
    search.candidates.clear();
  }
  publish_product(session, search, run.folder);
}

}  // namespace

int main(int argc, char** argv) {
  DistillOptions options;
  HeadOptions head;
  OptionTable table =
      program_table("distill", "makes a few synthetic cells per class that teach what the whole atlas teaches");
  add_distill_options(table, options);
  add_head_options(table, head);
  return run_program(argc, argv, table, [&](Session& session) { distill(session, options, head); });
}
