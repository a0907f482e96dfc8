// What all sets of a distillation are made of.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "retort/distill/options.hpp"
#include "retort/distill/real_features.hpp"
#include "retort/distill/scoring.hpp"
#include "retort/models/foundation.hpp"
#include "retort/models/gene_alignment.hpp"
#include "retort/models/head_training.hpp"
#include "retort/models/scdg.hpp"
#include "retort/session/session.hpp"

namespace retort {

struct DistillInputs {
  std::filesystem::path atlas_file, features_file, foundation_folder, generator_folder;
  bool needs_denoiser = false;
  std::unique_ptr<Atlas> atlas;
  Labels labels;
  std::vector<std::vector<std::int64_t>> fit_rows;  // [classes][cells]
  std::unique_ptr<Foundation> foundation;           // frozen
  std::unique_ptr<Scdg> denoiser;                   // where a variant needs it
  std::unique_ptr<AlignedReader> reader;
  std::unique_ptr<RealFeatures> real;
  std::unique_ptr<HeldOut> held_out;
  double feature_scale = 1;  // of what heads see

  // Finds the files of this run; reads nothing yet.
  DistillInputs(Session const& session, DistillOptions const& options);
  // What decides whether the stage is done already.
  std::vector<std::filesystem::path> files() const;
  // Opens everything and makes sure that it belongs together; in a dry run not the features. Every rank calls it,
  // inside Communicator::together. Throws Failure(bad_input).
  void open(Session const& session, DistillOptions const& options, HeadOptions const& head, ShardPlan const& plan);
};

}  // namespace retort
