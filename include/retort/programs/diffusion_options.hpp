// Section [diffusion]: which generator is trained, and how.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "retort/generate/scldm_task.hpp"
#include "retort/generate/scrdit_task.hpp"
#include "retort/models/scdg.hpp"
#include "retort/ranks/share.hpp"
#include "retort/run/option_table.hpp"

namespace retort {

// What a model reads beside the atlas, where it is kept, and what it is trained with where the settings leave that
// open. Settings take these values from here, and --help names them from here.
struct DiffusionRecipe {
  std::string model;
  std::string file, what;  // of the run folder, that it is trained on, for people; none: the atlas alone
  std::string folder;      // of the run folder, that it is written to
  std::int64_t steps, batch;
  std::optional<std::int64_t> width, blocks;  // of a transformer
  double rate, weight_decay, clip;
  std::string course;                                                     // of the rate, for people
  double (*rate_at)(std::int64_t step, std::int64_t steps, double rate);  // and in numbers
};

// Of scdg, scldm and scrdit.
std::vector<DiffusionRecipe> const& diffusion_recipes();

struct DiffusionOptions {
  std::string atlas, features, generator;
  std::string model = "scdg", network = "transformer", conditioning = "joint", precision = "float32";
  std::int64_t steps = 0, batch = 0, width = 0, blocks = 0;  // 0: the recipe's
  double rate = 0, weight_decay = -1, clip = -1;             // 0, -1, -1: the recipe's
  double ema = 0;
  std::int64_t heads = ScldmTransformerShape{}.heads;
  std::int64_t patch = ScrditTransformerShape{}.patch, channels = ScrditUnetShape{}.channels;
  ScdgShape scdg;
  ScldmTraining scldm;
  ScrditTraining scrdit;
  std::vector<std::string> labels;

  // The model's. Throws Failure(usage) where there is no such model.
  DiffusionRecipe const& recipe() const;
  // Fills in what was left open from recipe().
  void complete();
  // Throws Failure(usage) where completed settings do not make sense.
  void check(ShardPlan const& plan) const;
  // The column of a model of one label; empty: the first that ingest was told.
  std::string label() const { return labels.empty() ? "" : labels.front(); }
  // What the tasks are told.
  ScldmTraining scldm_training() const;
  ScrditTraining scrdit_training() const;
};

void add_diffusion_options(OptionTable& table, DiffusionOptions& options);

}  // namespace retort
