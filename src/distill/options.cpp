#include "retort/distill/options.hpp"

#include <algorithm>

#include "retort/distill/matching_parts.hpp"
#include "retort/distill/variant.hpp"
#include "retort/kernels/linear_head_gradient.hpp"
#include "retort/run/error.hpp"

namespace retort {

void add_distill_options(OptionTable& table, DistillOptions& options) {
  table.add("distill.atlas", options.atlas, "the atlas; empty: RUN/atlas.h5ad")
      .add("distill.features", options.features, "features of its cells; empty: RUN/features.h5ad")
      .add("distill.foundation", options.foundation, "folder of the encoder and decoder; empty: RUN/foundation")
      .add("distill.generator", options.generator, "folder of the denoiser; empty: RUN/generator")
      .add("distill.label", options.label, "label column; empty: the first that ingest was told")
      .add("distill.variants", options.variants,
           "what is optimised: scdd (latents through U and D), decoder (through D), cells (expression), features, "
           "features_decoded (decoded at the end); generator and random: nothing is")
      .add("distill.matchings", options.matchings,
           "what is matched: dm (class means), dc (gradients of a head), dm+dc, head (a head trained on the set is "
           "good on all real cells), genes (so is logistic regression on genes), head+genes")
      .add("distill.spc", options.spc, "synthetic cells per class")
      .add("distill.draws", options.draws, "sets of each kind, each from other initial cells")
      .add("distill.initial_cells", options.initial_cells,
           "real cells whose mean a synthetic cell starts from; 1: a real cell, as the paper does; 0: 1 at spc 1, 16 "
           "above")
      .add("distill.grow", options.grow,
           "a set of several cells per class starts around the smaller one of the same kind and draw, where this run "
           "has made it")
      .add("distill.optimiser", options.optimiser, "adam or sgd")
      .add("distill.momentum", options.momentum, "of sgd")
      .add("distill.rates", options.rates, "learning rates that are tried; the held-out part of train chooses")
      .add("distill.iterations", options.iterations, "the most steps of a set")
      .add("distill.score_steps", options.score_steps, "steps after which a set is scored on the held-out part")
      .add("distill.score_heads", options.score_heads, "heads that score a set")
      .add("distill.choose_each_draw", options.choose_each_draw,
           "choose rate and steps anew for every draw; otherwise the first draw's are kept for the others")
      .add("distill.metric", options.metric, "of gradient matching: rows or flat")
      .add("distill.heads", options.heads,
           "whose gradients are matched: shared (one head gives both; DC), student_expert (a head trained on the set "
           "and one trained on the real cells, each gives its own, summed over inner_epochs; scDD eq 5)")
      .add("distill.encoder", options.encoder,
           "frozen, or unfrozen: gradients of the encoder's weights are matched too (scDD table VII); slow, for small "
           "studies")
      .add("distill.outer_steps", options.outer_steps,
           "gradient matching draws a fresh head after so many steps; 0: by spc, as DC does (1: 1, 10: 10, 50: 50)")
      .add(
          "distill.inner_epochs", options.inner_epochs,
          "epochs that the head learns from the synthetic set between two of them; 0: by spc (1: none, 10: 50, 50: 10)")
      .add("distill.head_steps", options.head_steps, "steps of a head's training that matching head goes back through")
      .add("distill.gene_cells", options.gene_cells,
           "real cells that matching genes asks, over all classes in proportion")
      .add("distill.real_cells", options.real_cells,
           "real cells per class for its gradient; 0: all, which is exact, or 256 where the encoder is unfrozen")
      .add("distill.chunk_cells", options.chunk_cells, "synthetic cells that pass the networks at once")
      .add("distill.renormalise", options.renormalise, "give latents unit length after every step");
}

std::vector<std::int64_t> score_steps_of(DistillOptions const& options) {
  std::vector<std::int64_t> score_steps = options.score_steps;
  score_steps.push_back(options.iterations);
  std::erase_if(score_steps, [&](std::int64_t at) { return at < 0 || at > options.iterations; });
  std::sort(score_steps.begin(), score_steps.end());
  score_steps.erase(std::unique(score_steps.begin(), score_steps.end()), score_steps.end());
  return score_steps;
}

InnerLoop inner_loop(DistillOptions const& options, std::int64_t spc) {
  InnerLoop loop = spc < 2    ? InnerLoop{1, 1}
                   : spc < 10 ? InnerLoop{spc, 50}
                   : spc < 20 ? InnerLoop{10, 50}
                   : spc < 30 ? InnerLoop{20, 25}
                   : spc < 40 ? InnerLoop{30, 20}
                   : spc < 50 ? InnerLoop{40, 15}
                              : InnerLoop{50, 10};
  if (options.outer_steps) loop.outer_steps = options.outer_steps;
  if (options.inner_epochs) loop.inner_epochs = options.inner_epochs;
  return loop;
}

std::vector<std::string> matchings_of(std::string const& variant, DistillOptions const& options) {
  return variant_kind(variant).is_matched ? options.matchings : std::vector<std::string>{"none"};
}

std::int64_t initial_cells_of(DistillOptions const& options, std::int64_t spc) {
  return options.initial_cells ? options.initial_cells : spc == 1 ? 1 : 16;
}

void check_distill_options(DistillOptions const& options, HeadOptions const& head) {
  check_head_options(head);
  auto at_least = [](std::int64_t value, std::int64_t least, char const* name) {
    if (value < least) fail(ExitCode::usage, "distill.{} is {} (it must be at least {})", name, value, least);
  };
  at_least(options.draws, 1, "draws");
  at_least(options.initial_cells, 0, "initial_cells");
  at_least(options.iterations, 0, "iterations");
  at_least(options.score_heads, 1, "score_heads");
  at_least(options.outer_steps, 0, "outer_steps");
  at_least(options.inner_epochs, 0, "inner_epochs");
  at_least(options.real_cells, 0, "real_cells");
  at_least(options.head_steps, 1, "head_steps");
  at_least(options.gene_cells, 1, "gene_cells");
  at_least(options.chunk_cells, 1, "chunk_cells");
  for (std::int64_t const cells : options.spc) at_least(cells, 1, "spc");
  for (auto const& variant : options.variants) variant_kind(variant);
  if (!options.variants.empty() && std::all_of(options.variants.begin(), options.variants.end(),
                                               [](auto const& name) { return name == "features"; }))
    fail(ExitCode::usage,
         "distill.variants is features alone (a set of features has no cells to be the run's product). Add "
         "features_decoded");
  for (auto const& matching : options.matchings)
    if (matching_parts(matching).genes && std::any_of(options.variants.begin(), options.variants.end(),
                                                      [](auto const& name) { return name.starts_with("features"); }))
      fail(ExitCode::usage,
           "distill.matchings has '{}' and distill.variants features (which have no genes to learn). Distil them apart",
           matching);
  if (options.optimiser != "adam" && options.optimiser != "sgd")
    fail(ExitCode::usage, "distill.optimiser is '{}' (it is adam or sgd)", options.optimiser);
  if (options.variants.empty() || options.matchings.empty() || options.spc.empty() || options.rates.empty())
    fail(ExitCode::usage, "distill.variants, matchings, spc or rates is empty (nothing would be distilled)");
  if (options.heads != "shared" && !options.student_expert())
    fail(ExitCode::usage, "distill.heads is '{}' (it is shared or student_expert)", options.heads);
  if (options.encoder != "frozen" && !options.encoder_unfrozen())
    fail(ExitCode::usage, "distill.encoder is '{}' (it is frozen or unfrozen)", options.encoder);
  auto const metric = gradient_metric(options.metric, "distill.metric");
  bool heads_matched = false, gradients_matched = false;
  for (auto const& matching : options.matchings) {
    heads_matched |= matching_parts(matching).head;
    gradients_matched |= matching_parts(matching).gradients;
  }
  if (heads_matched && !head.hidden.empty())
    fail(ExitCode::usage,
         "distill.matchings has head and head.hidden is {} (matching head goes back through the training of a linear "
         "head). Leave head out of the matchings",
         fmt::join(head.hidden, ","));
  if (gradients_matched && options.encoder_unfrozen()) {
    if (metric != GradientMetric::rows)
      fail(ExitCode::usage,
           "distill.encoder is unfrozen and distill.metric flat (rows of weight matrices are compared). Take "
           "distill.metric rows");
    if (options.student_expert())
      fail(ExitCode::usage,
           "distill.encoder is unfrozen and distill.heads student_expert (student and expert share one encoder). Take "
           "distill.heads shared");
    if (std::any_of(options.variants.begin(), options.variants.end(),
                    [](auto const& name) { return name.starts_with("features"); }))
      fail(ExitCode::usage,
           "distill.encoder is unfrozen and distill.variants has features (which do not pass an encoder). Distil them "
           "apart");
  }
  for (double const rate : options.rates)
    if (!(rate > 0)) fail(ExitCode::usage, "distill.rates has {} (a rate is above 0)", rate);
}

}  // namespace retort
