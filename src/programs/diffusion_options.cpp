#include "retort/programs/diffusion_options.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "retort/layers/precision.hpp"
#include "retort/run/error.hpp"
#include "retort/run/progress.hpp"
#include "retort/training/learning_rate.hpp"

namespace retort {
namespace {

double falling(std::int64_t step, std::int64_t steps, double rate) {
  return rate * (1 - static_cast<double>(step) / static_cast<double>(steps));
}
double warmed_up(std::int64_t step, std::int64_t steps, double rate) {
  return scldm_rate(step, steps, rate, AfterWarmUp::cosine);
}
double held(std::int64_t, std::int64_t, double rate) { return rate; }

// "128 for scdg and scldm, 16 for scrdit": of the models that have any.
std::string of_models(std::function<std::string(DiffusionRecipe const&)> const& value_of) {
  std::vector<std::pair<std::string, std::string>> said;  // a value, and the models that have it
  for (auto const& recipe : diffusion_recipes()) {
    auto const value = value_of(recipe);
    auto const same = std::ranges::find(said, value, [](auto const& one) { return one.first; });
    if (same != said.end())
      same->second += " and " + recipe.model;
    else if (!value.empty())
      said.emplace_back(value, recipe.model);
  }
  std::string text;
  for (auto const& [value, models] : said) text += fmt::format("{}{} for {}", text.empty() ? "" : ", ", value, models);
  return text;
}

std::string shown(std::int64_t value) { return with_commas(value); }
std::string shown(double value) { return fmt::format("{}", value); }
std::string shown(std::optional<std::int64_t> const& value) { return value ? shown(*value) : ""; }

template <class Value>
std::string of_models(Value DiffusionRecipe::*member) {
  return of_models([member](DiffusionRecipe const& recipe) { return shown(recipe.*member); });
}

std::string files_of_models(std::string DiffusionRecipe::*member) {
  return of_models([member](DiffusionRecipe const& recipe) {
    return (recipe.*member).empty() ? std::string() : "RUN/" + recipe.*member;
  });
}

}  // namespace

std::vector<DiffusionRecipe> const& diffusion_recipes() {
  static std::vector<DiffusionRecipe> const recipes{
      {.model = "scdg",
       .file = "features.h5ad",
       .what = "features",
       .folder = "generator",
       .steps = 1500,
       .batch = 128,
       .width = {},
       .blocks = {},
       .rate = 1e-3,
       .weight_decay = 1e-4,
       .clip = 0,
       .course = "falls linearly to 0",
       .rate_at = falling},
      {.model = "scldm",
       .file = "latents.h5ad",
       .what = "latents",
       .folder = "flow",
       .steps = 5000,
       .batch = 128,
       .width = ScldmTransformerShape{}.width,
       .blocks = ScldmTransformerShape{}.blocks,
       .rate = 5e-4,
       .weight_decay = 0,
       .clip = 10,
       .course = "rises, then falls to a tenth",
       .rate_at = warmed_up},
      {.model = "scrdit",
       .file = "",
       .what = "",
       .folder = "denoiser",
       .steps = 20'000,
       .batch = 16,
       .width = ScrditTransformerShape{}.width,
       .blocks = ScrditTransformerShape{}.depth,
       .rate = 3e-4,
       .weight_decay = 0.01,
       .clip = 0,
       .course = "held",
       .rate_at = held},
  };
  return recipes;
}

DiffusionRecipe const& DiffusionOptions::recipe() const {
  auto const& all = diffusion_recipes();
  auto const found = std::ranges::find(all, model, &DiffusionRecipe::model);
  if (found == all.end()) fail(ExitCode::usage, "diffusion.model is '{}' (it is scdg, scldm or scrdit)", model);
  return *found;
}

void DiffusionOptions::complete() {
  auto const& own = recipe();
  if (steps == 0) steps = own.steps;
  if (batch == 0) batch = own.batch;
  if (width == 0) width = own.width.value_or(0);
  if (blocks == 0) blocks = own.blocks.value_or(0);
  if (rate == 0) rate = own.rate;
  if (weight_decay == -1) weight_decay = own.weight_decay;
  if (clip == -1) clip = own.clip;
}

void DiffusionOptions::check(ShardPlan const& plan) const {
  if (model != "scldm" && labels.size() > 1)
    fail(ExitCode::usage, "diffusion.label names {} columns ({} has one)", labels.size(), model);
  if (batch < plan.shards() || batch % plan.shards())
    fail(ExitCode::usage, "diffusion.batch {} cannot be shared by {} shards (each needs the same number of cells)",
         batch, plan.shards());
  if (steps < 0) fail(ExitCode::usage, "diffusion.steps is {} (it must not be negative)", steps);
  if (!(rate >= 0) || !(clip >= 0))
    fail(ExitCode::usage, "diffusion.rate {} and diffusion.clip {} must not be negative", rate, clip);
  if (!(weight_decay >= 0))
    fail(ExitCode::usage, "diffusion.weight_decay is {} (it must not be negative)", weight_decay);
  if (!(scldm.unlabelled >= 0 && scldm.unlabelled < 1))
    fail(ExitCode::usage, "diffusion.unlabelled is {} (it lies in [0, 1): some cells must keep their labels)",
         scldm.unlabelled);
  conditioning_of(conditioning), precision_of(precision, "diffusion.precision");
  if (!(ema >= 0 && ema < 1)) fail(ExitCode::usage, "diffusion.ema is {} (it lies in [0, 1))", ema);
  if (!(scdg.latent_scale >= 0))
    fail(ExitCode::usage, "diffusion.latent_scale is {} (it must not be negative)", scdg.latent_scale);
  if (network != "transformer" && network != "unet")
    fail(ExitCode::usage, "diffusion.network is '{}' (it is transformer or unet)", network);
  if (!(scrdit.zero_value <= 0) || std::isinf(scrdit.zero_value))
    fail(ExitCode::usage, "diffusion.zero_value is {} (it must be below 0, or 0 for zeros that stay)",
         scrdit.zero_value);
  if (model != "scldm" && !scldm.left_out.empty())
    fail(ExitCode::usage,
         "diffusion.leave_out is for scldm ({} is not told combinations). Ask scrdit for classes by diffusion.only",
         model);
  if (model != "scrdit" && !scrdit.classes.empty())
    fail(ExitCode::usage, "diffusion.only is for scrdit ({} is told classes)", model);
}

ScldmTraining DiffusionOptions::scldm_training() const {
  auto training = scldm;
  training.shape.width = width, training.shape.blocks = blocks, training.shape.heads = heads;
  training.columns = labels;
  training.conditioning = conditioning_of(conditioning);
  return training;
}

ScrditTraining DiffusionOptions::scrdit_training() const {
  auto training = scrdit;
  training.label = label();
  if (network == "unet")
    training.shape = ScrditUnetShape{.channels = channels};
  else
    training.shape = ScrditTransformerShape{.patch = patch, .width = width, .depth = blocks, .heads = heads};
  return training;
}

void add_diffusion_options(OptionTable& table, DiffusionOptions& options) {
  auto const rates = of_models(
      [](DiffusionRecipe const& recipe) { return fmt::format("{} ({})", shown(recipe.rate), recipe.course); });
  table.add("diffusion.atlas", options.atlas, "the atlas; empty: RUN/atlas.h5ad")
      .add("diffusion.features", options.features,
           "features (scdg) or latents (scldm) of its cells; empty: " + files_of_models(&DiffusionRecipe::file))
      .add("diffusion.generator", options.generator,
           "folder to write; empty: " + files_of_models(&DiffusionRecipe::folder))
      .add("diffusion.label", options.labels,
           "label column, for scldm also several; empty: the first that ingest was told")
      .add("diffusion.model", options.model,
           "scdg (scDD's single step), scldm (flow matching of an autoencoder's latents) or scrdit (diffusion of "
           "log-normalised expression)")
      .add("diffusion.steps", options.steps, "steps; 0: " + of_models(&DiffusionRecipe::steps))
      .add("diffusion.batch", options.batch,
           "cells per step, over all shards; 0: " + of_models(&DiffusionRecipe::batch))
      .add("diffusion.rate", options.rate, "learning rate; 0: " + rates)
      .add("diffusion.weight_decay", options.weight_decay, "of AdamW; -1: " + of_models(&DiffusionRecipe::weight_decay))
      .add("diffusion.clip", options.clip,
           "largest norm of a gradient; 0: any; -1: " + of_models(&DiffusionRecipe::clip))
      .add("diffusion.precision", options.precision,
           "of products in training: float32, or bfloat16 with float32 weights, sums and norms")
      .add("diffusion.ema", options.ema,
           "keep of the moving average of weights that is written, less in the first steps: (1 + step) / (10 + step) "
           "at most; 0: the last weights")
      .add("diffusion.hidden", options.scdg.hidden, "scdg: widths of the denoiser's layers")
      .add("diffusion.latent_scale", options.scdg.latent_scale,
           "scdg: features are multiplied by it; 0: the square root of their width")
      .add("diffusion.network", options.network, "scrdit: transformer or unet")
      .add("diffusion.width", options.width, "width of the transformer; 0: " + of_models(&DiffusionRecipe::width))
      .add("diffusion.blocks", options.blocks, "its blocks; 0: " + of_models(&DiffusionRecipe::blocks))
      .add("diffusion.heads", options.heads, "their heads")
      .add("diffusion.patch", options.patch, "scrdit's transformer: genes of a token")
      .add("diffusion.channels", options.channels, "scrdit's unet: channels at full length")
      .add("diffusion.genes", options.scrdit.genes,
           "scrdit: variable genes that it draws, or all where there are fewer, less what fills no patch (of the unet: "
           "no 8)")
      .add("diffusion.zero_value", options.scrdit.zero_value,
           "scrdit: what zeros become in training; 0: they stay zeros")
      .add("diffusion.standardise", options.scrdit.standardise,
           "scrdit: take off the genes' means and divide by one scale before noise is added, which trains several "
           "times as fast; false: as the paper's code")
      .add("diffusion.only", options.scrdit.classes, "scrdit: classes to train on; empty: all cells")
      .add("diffusion.tokens", options.scldm.shape.tokens, "scldm: tokens of a cell, as vae.tokens")
      .add("diffusion.conditioning", options.conditioning,
           "scldm, several columns: joint (one embedding per combination), summed (one per column; knows combinations "
           "it never saw) or additive (guided by one column at a time)")
      .add("diffusion.unlabelled", options.scldm.unlabelled,
           "scldm: share of cells whose labels are dropped, which guidance needs; 0.8 in the public configurations")
      .add("diffusion.leave_out", options.scldm.left_out, "scldm: combinations not to train on, CLASS/CLASS");
}

}  // namespace retort
