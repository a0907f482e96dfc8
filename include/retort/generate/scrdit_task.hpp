// scRDiT's diffusion: a network learns the noise in cells' log-normalised expression (methods 2).
#pragma once

#include <map>

#include "retort/cells/atlas.hpp"
#include "retort/generate/diffusion_task.hpp"
#include "retort/generate/scrdit_generator.hpp"
#include "retort/models/scrdit_schedule.hpp"
#include "retort/ranks/share.hpp"
#include "retort/session/session.hpp"

namespace retort {

struct ScrditTraining {
  ScrditShape shape{};  // its genes are what is trained on: `genes` or all, less what does not fill a patch
  std::int64_t genes = 2000;
  double zero_value = scrdit_negated_zero;  // 0: zeros stay zeros
  bool standardise = false;  // by the means of the genes and one scale for all, of the first 10,000 cells trained on
  std::string label{};       // column of `classes`; empty: the first that ingest was told
  std::vector<std::string> classes{};  // trained on; empty: all cells. The paper trains a network a class
};

// The `count` variable genes of the fit part, rising: of its first 10,000 cells, which are a random sample, whatever
// classes are trained on, so that the networks of all classes draw the same genes. By variable_genes on counts; of log
// values those of largest variance. Not collective.
std::vector<std::int32_t> scrdit_genes(Atlas const& atlas, std::int64_t count);

// At index t, uniform in 1 .. 999, of noise e and expression x as ScrditValues shows it: the network is to predict e in
// sqrt(a) x + sqrt(1 - a) e, with a = signal_left(t).
class ScrditTask : public DiffusionTask {
 public:
  // Collective. This rank's shards keep the non-zeros of the chosen genes, none where `session.dry_run`. Throws
  // Failure(bad_input, usage).
  ScrditTask(Session const& session, Atlas const& atlas, ScrditTraining const& training, ShardPlan const& plan);

  std::vector<at::Tensor> parameters() const override { return generator_.network.parameters().tensors(); }
  NoisyCells draw(std::int64_t step, int shard, int shards, std::int64_t cells) const override;
  at::Tensor predict(NoisyCells const& cells, int) const override {
    return generator_.network.predict(cells.values, cells.times);
  }
  void save(std::filesystem::path const& folder) const override { generator_.save(folder); }
  std::string description() const override;

 private:
  std::uint64_t seed_;
  NoiseSchedule schedule_ = scrdit_schedule();
  ScrditGenerator generator_;
  std::map<int, CsrBlock> cells_;  // of a shard: log-normalised, the chosen genes
};

}  // namespace retort
