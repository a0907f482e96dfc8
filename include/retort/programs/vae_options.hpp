// Section [vae]: which autoencoder of counts, and how it is trained.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "retort/cells/batch_stream.hpp"
#include "retort/models/scldm_vae.hpp"
#include "retort/models/scvi_vae.hpp"
#include "retort/run/option_table.hpp"
#include "retort/training/flat_adamw.hpp"

namespace retort {

struct VaeOptions {
  std::string atlas, vae, latents;
  std::string model = "scldm", precision = "float32";
  std::string fusion = "concat", token_genes = "expressed", likelihood = "nb", start = "components";
  ScldmVaeShape scldm;
  ScviShape scvi;
  BatchOrder order{.batch = 128};
  std::int64_t steps = 0;  // 0: steps_for
  double rate = 1e-3;
  std::string schedule = "hold";
  double largest_norm = 10;  // 0: no clipping
  double kl_weight = 1e-5;   // of scldm with a posterior; scvi's is 1 after kl_epochs
  double kl_epochs = 400;

  bool is_scvi() const { return model == "scvi"; }
  // Whether the vectors of genes begin at how genes vary together (models/gene_components.hpp).
  bool starts_at_components() const { return !is_scvi() && start == "components"; }
  // The steps that `steps` 0 stands for: ten epochs, but no fewer than 2,000 steps.
  std::int64_t steps_for(std::int64_t fit_cells) const;
  // scLDM's AdamW with betas 0.9 and 0.95; scvi-tools' Adam with epsilon 0.01 and weight decay 1e-6.
  AdamwSettings adamw() const;
  // The learning rate of step `step` of `steps`: scvi's is constant.
  double rate_at(std::int64_t step, std::int64_t steps) const;
  // Of step `step`, where an epoch has `epoch_steps`.
  double kl_weight_at(std::int64_t step, double epoch_steps) const;
  // A new model. Throws Failure(usage).
  std::unique_ptr<CellVae> make(std::int64_t genes, std::uint64_t seed) const;
  // Throws Failure(usage) where settings do not make sense.
  void check() const;
};

void add_vae_options(OptionTable& table, VaeOptions& options);

}  // namespace retort
