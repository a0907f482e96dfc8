#include "retort/programs/foundation_options.hpp"

#include <algorithm>

#include "retort/run/error.hpp"

namespace retort {

std::int64_t FoundationOptions::steps_for(std::int64_t fit_cells) const {
  if (steps > 0) return steps;
  std::int64_t const cells = std::max<std::int64_t>(75'000, 3 * fit_cells);
  return (cells + order.batch - 1) / order.batch;
}

void FoundationOptions::check() {
  loss.mining = parse_mining(mining);
  require_sane(loss);
  if (steps < 0)
    fail(ExitCode::usage, "foundation.steps is {} (a number of steps). Give 0 for the rule by cells, or more", steps);
  if (!(rate > 0))
    fail(ExitCode::usage, "foundation.rate is {} (nothing would be learned). Give a value above 0", rate);
  if (!(warm_up_share >= 0 && warm_up_share <= 1))
    fail(ExitCode::usage, "foundation.warm_up_share is {} (a share of the steps). Give a value from 0 to 1",
         warm_up_share);
  if (!(adamw.weight_decay >= 0))
    fail(ExitCode::usage, "foundation.weight_decay is {} (weights would grow). Give 0 or more", adamw.weight_decay);
  if (!(largest_norm >= 0))
    fail(ExitCode::usage, "foundation.clip is {} (a norm). Give 0 for none, or more", largest_norm);
}

void add_foundation_options(OptionTable& table, FoundationOptions& options) {
  table.add("foundation.atlas", options.atlas, "atlas h5ad; empty: RUN/atlas.h5ad")
      .add("foundation.model", options.model, "folder of the model; empty: RUN/foundation")
      .add("foundation.import", options.import,
           "foundation/ of another run, or SCimilarity model folder, to take over instead of training")
      .add("foundation.label", options.label, "obs column that triplets use; empty: the atlas's")
      .add("foundation.hidden", options.shape.hidden,
           "widths of the encoder's hidden layers; the decoder's are reversed")
      .add("foundation.latent", options.shape.latent, "width of the latents")
      .add("foundation.batch", options.order.batch, "cells per step, over all ranks")
      .add("foundation.block", options.order.block, "neighbouring rows that are read together")
      .add("foundation.window", options.order.window, "blocks among which rows are shuffled")
      .add("foundation.steps", options.steps, "training steps; 0: 75,000 cells, or three epochs of a larger atlas")
      .add("foundation.rate", options.rate, "AdamW's learning rate after warm-up; falls to zero by a cosine")
      .add("foundation.warm_up_share", options.warm_up_share, "share of the steps in which the rate rises")
      .add("foundation.weight_decay", options.adamw.weight_decay, "AdamW's weight decay")
      .add("foundation.clip", options.largest_norm, "largest norm of the gradient; 0: any")
      .add("foundation.triplet_weight", options.loss.triplet_weight,
           "weight of the triplet loss; the reconstruction's is 1 - this")
      .add("foundation.margin", options.loss.margin, "margin of the triplet loss, on unit vectors")
      .add("foundation.mining", options.mining, "triplets: batch_hard, semi_hard or all")
      .add("foundation.input_dropout", options.loss.input_dropout, "share of a cell's genes that are set to zero")
      .add("foundation.dropout", options.loss.dropout, "share of hidden values that are set to zero");
}

}  // namespace retort
