// scLDM's diffusion: flow matching of latent tokens under labels (methods 3.5).
#pragma once

#include <map>
#include <memory>

#include "retort/generate/conditions.hpp"
#include "retort/generate/diffusion_task.hpp"
#include "retort/generate/size_factors.hpp"
#include "retort/ranks/share.hpp"
#include "retort/session/session.hpp"

namespace retort {

// The network with all that generating needs.
struct ScldmGenerator {
  std::unique_ptr<ScldmTransformer> network;
  Conditions conditions = Conditions({});
  Conditioning conditioning = Conditioning::joint;
  SizeFactors sizes;                 // a combination each; one that has no cells has those of its first column's class
  std::string encoder;               // hash of the autoencoder's weights
  std::string atlas;                 // identity of the cells it was trained on
  std::vector<std::int64_t> unseen;  // combinations that it was not trained on; a joint network knows nothing of them
  double unlabelled = 0.1;  // share of cells whose labels were dropped; 0: it does not know cells without labels

  // scldm.safetensors and config.json. Not collective. Throws Failure(cannot_write); Failure(missing_input, bad_input).
  void save(std::filesystem::path const& folder) const;
  static ScldmGenerator load(std::filesystem::path const& folder);
  // Combinations whose embeddings were trained: of a joint network its own, else one in each column.
  std::vector<bool> known() const;
};

struct ScldmTraining {
  ScldmTransformerShape shape;  // tokens, latent and attributes are filled from what is trained on
  std::vector<std::string> columns;
  Conditioning conditioning = Conditioning::joint;
  double unlabelled = 0.1;            // share of cells whose labels are dropped
  std::vector<std::string> left_out;  // combinations that are not trained on
};

// x1 a cell's latents, x0 noise, t uniform in [0, 1]: the network is to predict x1 - x0 at t x1 + (1 - t) x0.
class ScldmTask : public DiffusionTask {
 public:
  // Collective: reads libraries. Latents are read for this rank's shards, none where `session.dry_run`. Throws
  // Failure(missing_input, bad_input, usage).
  ScldmTask(Session const& session, Atlas const& atlas, std::filesystem::path const& latents,
            ScldmTraining const& training, ShardPlan const& plan);

  std::vector<at::Tensor> parameters() const override { return generator_.network->parameters().tensors(); }
  NoisyCells draw(std::int64_t step, int shard, int shards, std::int64_t cells) const override;
  at::Tensor predict(NoisyCells const& cells, int) const override {
    return generator_.network->velocity(cells.values, cells.times, cells.labels);
  }
  void save(std::filesystem::path const& folder) const override { generator_.save(folder); }
  std::string description() const override;

 private:
  struct ShardCells {
    at::Tensor latents;                      // [cells, tokens, latent]
    std::vector<std::int32_t> combinations;  // [cells]
  };
  std::uint64_t seed_;
  ScldmGenerator generator_;
  std::map<int, ShardCells> cells_;
};

}  // namespace retort
