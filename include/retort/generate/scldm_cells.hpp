// Cells from scLDM: noise to latents along the flow, latents to counts by the autoencoder (methods 3.5).
#pragma once

#include <filesystem>
#include <memory>

#include "retort/generate/cell_source.hpp"
#include "retort/generate/flow_samplers.hpp"
#include "retort/generate/scldm_task.hpp"
#include "retort/models/cell_vae.hpp"

namespace retort {

struct ScldmDrawing {
  std::int64_t cells = 0;         // of each kind; 0: as many as the test part has
  std::vector<std::string> only;  // kinds, CLASS or CLASS/CLASS; empty: all that the test part has, or where `cells` is
                                  // set all (of a joint generator: all that it was trained on)
  std::vector<double> weights;    // of the guidance, one a label column, or one for all; empty: 1 each; 0: no labels
  FlowSettings flow;
};

class ScldmCells : public CellSource {
 public:
  // The atlas is read where `drawing.cells` is 0. Not collective. Throws Failure(missing_input, bad_input, usage).
  ScldmCells(std::filesystem::path const& generator, std::filesystem::path const& vae,
             std::filesystem::path const& atlas, ScldmDrawing drawing);

  std::int64_t cells() const override { return std::ssize(kinds_); }
  std::vector<std::string> const& gene_names() const override { return vae_->origin.gene_names; }
  std::string values() const override { return counts_ ? "counts" : "log_normalised"; }
  std::int64_t rows_of_a_block() const override { return 64; }
  DrawnCells draw(GeneratedRows const& rows, std::uint64_t seed, std::function<bool()> const& goes_on) const override;
  std::vector<CellSet::Column> columns() const override;
  nlohmann::json facts() const override;

 private:
  // As the flow was trained: all labels at once, or one column at a time.
  Guidance guidance() const {
    return generator_.conditioning == Conditioning::additive ? Guidance::additive : Guidance::joint;
  }

  ScldmDrawing drawing_;
  std::unique_ptr<CellVae> vae_;
  ScldmGenerator generator_;
  std::vector<std::int64_t> kinds_;  // of each cell
  bool counts_ = true;
};

}  // namespace retort
