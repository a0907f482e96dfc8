// scDD's single-step generator: predicts the clean latents of noisy ones (methods 1.3; scDD eq 3).
#pragma once

#include <map>
#include <memory>

#include "retort/cells/atlas.hpp"
#include "retort/generate/diffusion_task.hpp"
#include "retort/models/scdg.hpp"
#include "retort/ranks/share.hpp"
#include "retort/session/session.hpp"

namespace retort {

class ScdgTask : public DiffusionTask {
 public:
  // `shape`'s latents and classes are filled from what is trained on. Features are read for this rank's shards, none
  // where `session.dry_run`. Not collective: call it inside Communicator::together. Throws Failure(missing_input,
  // bad_input, usage).
  ScdgTask(Session const& session, Atlas const& atlas, std::filesystem::path const& features, std::string const& label,
           ScdgShape shape, ShardPlan const& plan);

  std::vector<at::Tensor> parameters() const override { return model_.parameters(); }
  bool takes_blocks() const override { return true; }
  NoisyCells draw(std::int64_t step, int first, int shards, std::int64_t cells) const override;
  at::Tensor predict(NoisyCells const& cells, int shards) const override {
    return model_.denoise(cells.values, cells.times, cells.labels, shards);
  }
  void save(std::filesystem::path const& folder) const override {
    model_.save(folder, labels_.names, encoder_, atlas_);
  }
  std::string description() const override;

 private:
  struct ShardCells {
    at::Tensor latents;                 // [cells, latent], scaled
    std::vector<std::int64_t> classes;  // [cells]
  };
  std::uint64_t seed_;
  Labels labels_;
  std::string encoder_, atlas_;
  Scdg model_;
  NoiseSchedule schedule_;
  std::map<int, ShardCells> cells_;
};

}  // namespace retort
