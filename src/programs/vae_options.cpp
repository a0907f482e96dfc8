#include "retort/programs/vae_options.hpp"

#include <algorithm>

#include "retort/run/error.hpp"
#include "retort/training/learning_rate.hpp"

namespace retort {

void add_vae_options(OptionTable& table, VaeOptions& options) {
  table.add("vae.atlas", options.atlas, "atlas of counts; empty: RUN/atlas.h5ad")
      .add("vae.folder", options.vae, "folder to write; empty: RUN/vae")
      .add("vae.latents", options.latents, "h5ad of all cells' latents to write; empty: RUN/latents.h5ad")
      .add("vae.model", options.model,
           "scldm (a set of genes through attention) or scvi (the shape of scvi-tools' SCVI)")
      .add("vae.steps", options.steps, "steps; 0: ten epochs, at least 2,000")
      .add("vae.batch", options.order.batch, "cells per step, over all shards")
      .add("vae.block", options.order.block, "neighbouring cells that are read together")
      .add("vae.window", options.order.window, "blocks whose cells are shuffled among each other")
      .add("vae.rate", options.rate, "learning rate; scldm's is the highest of a schedule, scvi's is constant")
      .add("vae.schedule", options.schedule,
           "scldm: after the first tenth of the steps the rate is held to the last tenth (hold, as in its code) or "
           "falls all the way (cosine)")
      .add("vae.precision", options.precision,
           "of products in training: float32, or bfloat16 with float32 weights, sums, norms and own kernels")
      .add("vae.clip", options.largest_norm, "largest norm of a gradient; 0: none")
      .add("vae.width", options.scldm.width, "scldm: width of a token")
      .add("vae.tokens", options.scldm.tokens, "scldm: latent tokens per cell")
      .add("vae.latent", options.scldm.latent, "scldm: width of a latent token")
      .add("vae.blocks", options.scldm.blocks, "scldm: transformer blocks on either side")
      .add("vae.heads", options.scldm.heads, "scldm: heads of a block")
      .add("vae.cross_heads", options.scldm.cross_heads, "scldm: heads between genes and latents")
      .add("vae.start", options.start,
           "scldm: vectors of genes begin at the components of how genes vary together in up to 10,000 cells "
           "(components) or at random (random, as in its code)")
      .add("vae.fusion", options.fusion,
           "scldm: gene and count become a token by concat (the paper) or log1p (its code)")
      .add("vae.token_genes", options.token_genes, "scldm: genes that are tokens: expressed or all")
      .add("vae.length", options.scldm.length,
           "scldm: expressed genes of a cell are padded to so many tokens, as the paper's code does; 0: no pads")
      .add("vae.likelihood", options.likelihood,
           "scldm: nb (one dispersion per gene), nb_cell (one per cell and gene) or gaussian")
      .add("vae.posterior", options.scldm.posterior, "scldm: a Gaussian posterior instead of normalised latents")
      .add("vae.kl_weight", options.kl_weight, "scldm: weight of the posterior's distance to the prior")
      .add("vae.scvi_hidden", options.scvi.hidden, "scvi: width of hidden layers")
      .add("vae.scvi_latent", options.scvi.latent, "scvi: latents")
      .add("vae.scvi_layers", options.scvi.layers, "scvi: hidden layers on either side")
      .add("vae.scvi_dropout", options.scvi.dropout, "scvi: dropout of the encoder")
      .add("vae.scvi_kl_epochs", options.kl_epochs,
           "scvi: epochs in which the weight of the distance to the prior rises to 1");
}

std::int64_t VaeOptions::steps_for(std::int64_t fit_cells) const {
  constexpr std::int64_t least = 2000, epochs = 10;
  return steps > 0 ? steps : std::max(least, epochs * fit_cells / order.batch);
}

AdamwSettings VaeOptions::adamw() const {
  if (is_scvi()) return {.weight_decay = 1e-6, .epsilon = 0.01};
  return {.weight_decay = 0, .beta2 = 0.95};
}

double VaeOptions::rate_at(std::int64_t step, std::int64_t all) const {
  return is_scvi() ? rate : scldm_rate(step, all, rate, schedule == "hold" ? AfterWarmUp::hold : AfterWarmUp::cosine);
}

double VaeOptions::kl_weight_at(std::int64_t step, double epoch_steps) const {
  if (!is_scvi()) return kl_weight;
  return kl_epochs > 0 ? std::min(1.0, static_cast<double>(step) / epoch_steps / kl_epochs) : 1;
}

std::unique_ptr<CellVae> VaeOptions::make(std::int64_t genes, std::uint64_t seed) const {
  if (is_scvi()) {
    auto shape = scvi;
    shape.genes = genes;
    return std::make_unique<ScviVae>(shape, seed);
  }
  auto shape = scldm;
  shape.genes = genes;
  shape.fusion = fusion_of(fusion);
  shape.token_genes = token_genes_of(token_genes);
  shape.likelihood = likelihood_of(likelihood);
  return std::make_unique<ScldmVae>(shape, seed);
}

void VaeOptions::check() const {
  if (model != "scldm" && model != "scvi") fail(ExitCode::usage, "vae.model is '{}' (it is scldm or scvi)", model);
  fusion_of(fusion), token_genes_of(token_genes), likelihood_of(likelihood), precision_of(precision, "vae.precision");
  if (steps < 0) fail(ExitCode::usage, "vae.steps is {} (it must not be negative)", steps);
  if (order.batch < 1) fail(ExitCode::usage, "vae.batch is {} (it must be at least 1)", order.batch);
  if (start != "components" && start != "random")
    fail(ExitCode::usage, "vae.start is '{}' (it is components or random)", start);
  if (schedule != "hold" && schedule != "cosine")
    fail(ExitCode::usage, "vae.schedule is '{}' (it is hold or cosine)", schedule);
  if (!(rate > 0)) fail(ExitCode::usage, "vae.rate is {} (it must be positive)", rate);
  if (!(largest_norm >= 0)) fail(ExitCode::usage, "vae.clip is {} (it must not be negative)", largest_norm);
  if (!(kl_weight >= 0) || !(kl_epochs >= 0))
    fail(ExitCode::usage, "vae.kl_weight {} and vae.scvi_kl_epochs {} must not be negative", kl_weight, kl_epochs);
}

}  // namespace retort
