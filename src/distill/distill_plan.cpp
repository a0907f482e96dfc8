#include "retort/distill/distill_plan.hpp"

#include <algorithm>
#include <cstdio>

#include "retort/distill/chunks.hpp"
#include "retort/distill/layer_gradients.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

// About how many bytes a rank holds while a set of so many cells is made.
std::int64_t bytes_per_rank(DistillInputs const& in, DistillOptions const& options, HeadOptions const& head,
                            ShardPlan const& plan, std::int64_t cells) {
  auto const& shape = in.foundation->shape();
  std::int64_t const classes = in.labels.classes(), of_cells = cells * shape.genes * 4;
  std::int64_t const nonzeros = in.atlas->nonzeros(),
                     per_cell = nonzeros / std::max<std::int64_t>(1, in.atlas->cells());
  // The set in its graph, shared out, and gathered.
  std::int64_t const of_set = 3 * of_cells / plan.ranks() + 2 * of_cells;
  // Real features, as they are and packed for gradients and heads.
  std::int64_t const of_features = in.atlas->cells() * shape.latent * 4 * 7 / plan.ranks();
  std::int64_t const of_held_out = std::min(HeldOutGenes::most_rows * per_cell, nonzeros) * 8 / plan.ranks();
  // Gradients of the real cells that are held at once: of all classes of a head; of one class of an encoder.
  std::int64_t const of_heads = classes * gradient_length(classes, shape.latent, head.hidden) * 4 * 4;
  std::int64_t const of_encoder = options.encoder_unfrozen() ? shape.genes * shape.hidden[0] * 4 * 6 : 0;
  std::int64_t const of_networks = shape.genes * 1024 * 16, of_libraries = 300'000'000;
  return of_set + of_features + of_held_out + of_heads + of_encoder + of_networks + of_libraries;
}

}  // namespace

std::vector<Recipe> recipes_of(DistillOptions const& options) {
  std::vector<Recipe> recipes;
  for (std::int64_t const spc : options.spc)
    for (auto const& variant : options.variants)
      for (auto const& matching : matchings_of(variant, options))
        recipes.push_back({variant, matching_parts(matching), spc});
  return recipes;
}

SearchState first_search_state(std::size_t kinds) {
  SearchState search;
  search.choices.resize(kinds);
  search.table = fmt::format("{:<28} {:>9} {:>6} {:>10} {:>12} {:>10} {:>8}\n", "set", "rate", "steps", "loss",
                             "held out (%)", "genes (%)", "seconds");
  return search;
}

RealSide::Options real_side_options(DistillOptions const& options, HeadOptions const& head, Foundation const& encoder,
                                    std::uint64_t seed) {
  return {.metric = gradient_metric(options.metric, "distill.metric"),
          .hidden = head.hidden,
          .student_expert = options.student_expert(),
          .encoder = options.encoder_unfrozen() ? &encoder : nullptr,
          .real_cells = options.real_cells,
          .head_training = head_training_like(head, options.head_steps),
          .gene_cells = options.gene_cells,
          .seed = seed};
}

void require_sizes(DistillInputs const& in, DistillOptions const& options) {
  constexpr std::int64_t most = 2048;
  for (Recipe const& recipe : recipes_of(options)) {
    std::int64_t const cells = recipe.spc * in.labels.classes();
    if (recipe.matching.genes && cells > most)
      fail(ExitCode::usage,
           "distill.spc {} makes sets of {} cells (matching {} takes {} at most). Match heads alone at this size",
           recipe.spc, with_commas(cells), recipe.matching.name, with_commas(most));
  }
}

void print_distill_plan(DistillInputs const& in, DistillOptions const& options, HeadOptions const& head,
                        ShardPlan const& plan) {
  std::printf("%-28s %8s %8s %10s %12s\n", "set", "cells", "chunks", "steps", "MB per rank");
  std::int64_t const rates = std::ssize(options.rates), later = options.choose_each_draw ? rates : 1;
  for (Recipe const& recipe : recipes_of(options)) {
    std::int64_t const cells = recipe.spc * in.labels.classes();
    auto const chunks = plan_chunks(in.labels.classes(), recipe.spc, options.chunk_cells, plan.ranks());
    std::int64_t const steps =
        recipe.matching.is_none() ? 0 : options.iterations * (rates + (options.draws - 1) * later);
    auto const name = fmt::format("{}-{}-spc{}", recipe.variant, recipe.matching.name, recipe.spc);
    std::printf("%-28s %8s %8zu %10s %12s\n", name.c_str(), with_commas(cells).c_str(), chunks.size(),
                with_commas(steps).c_str(),
                with_commas(bytes_per_rank(in, options, head, plan, cells) / 1'000'000).c_str());
  }
}

}  // namespace retort
