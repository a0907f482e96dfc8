// Checkpoints of a program that trains, distils or generates: atomic, checksummed, readable on any number of ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "retort/session/session.hpp"

namespace retort {

// All that a run needs to go on to the same bits, equal on every rank. Draws are counter-based, so the position of
// every stream of numbers and of cells is the step.
struct CheckpointState {
  std::int64_t step = 0;                      // steps that are done
  std::map<std::string, at::Tensor> tensors;  // float32 or int64
  nlohmann::json facts;                       // what is small
};

// RUN/<verb>/checkpoints/step-N/ holds stripe-S.safetensors and MANIFEST.json (docs/formats.md, version 2); `latest`
// names the newest. Every file is flushed, then the manifest with the files' checksums, then the folder is renamed from
// step-N.tmp: a crash at any point leaves the earlier ones whole.
//
// In a loop: `Wish const wish = session.boundary();`, save() where it is checkpoint or stop, session.stop() from stop
// on.
class Checkpoints {
 public:
  // Of the stage that session.is_done() has begun. From here the signals to stop wait for step boundaries.
  // State above `stripe_bytes` is written by a second rank, and so on; with of_root rank 0 writes and gets all: the
  // others' state does not matter, and they are given facts alone.
  static constexpr std::int64_t of_root = std::int64_t{1} << 60;
  explicit Checkpoints(Session& session, std::int64_t stripe_bytes = 1'000'000'000);

  // Collective: publishes a checkpoint and drops those beyond run.keep_checkpoints. Large state is written by several
  // ranks, a range of every tensor each. Throws on all ranks Failure(cannot_write), with the earlier checkpoints whole,
  // or Failure(stopped) when another job has taken the run folder.
  void save(CheckpointState const& state) const;
  // Collective: the newest whole one of these settings and inputs, tensors on the CPU, the same on all ranks (but for
  // of_root); none to begin with. Says which it goes on from, and which were refused and why; warns where threads or
  // CPU differ. steps.tsv goes back to what it was then.
  std::optional<CheckpointState> newest() const;
  // The folder that `latest` names, where it is of these settings and inputs; otherwise nothing. Not collective.
  std::optional<std::filesystem::path> latest() const;

 private:
  Session& session_;
  std::filesystem::path folder_;
  std::int64_t stripe_bytes_;
};

// Copies saved tensors into those of the same names that a run works with, wherever they live; names and sizes must
// agree.
void restore(std::map<std::string, at::Tensor> const& saved, std::map<std::string, at::Tensor> const& into);

}  // namespace retort
