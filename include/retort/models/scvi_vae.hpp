// The autoencoder that users of scvi-tools know (Lopez et al. 2018), in its shape: the baseline of scLDM's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>

#include "retort/models/cell_vae.hpp"

namespace retort {

// Layers of Linear, BatchNorm (epsilon 1e-3, momentum 0.01), ReLU and, in the encoder, dropout; a Gaussian posterior;
// counts negative binomial around the cell's own library, one dispersion a gene. Defaults are scvi-tools 1.4's, but for
// its zero inflation.
struct ScviShape {
  std::int64_t genes = 0, hidden = 128, latent = 10, layers = 1;
  double dropout = 0.1;
};

class ScviVae : public CellVae {
 public:
  // Throws Failure(usage) where a size is not positive.
  ScviVae(ScviShape const& shape, std::uint64_t seed);
  // Throws Failure(missing_input, bad_input).
  static std::unique_ptr<ScviVae> load(std::filesystem::path const& folder);

  Parameters const& parameters() const override;
  std::int64_t width() const override { return shape_.latent; }
  // BatchNorm is over the shard's cells: at least two.
  at::Tensor shard_loss(std::shared_ptr<CsrBlock const> const& counts, VaeDraw const& draw,
                        at::Tensor const& statistics) override;
  std::int64_t statistics() const override;
  void update_running(at::Tensor const& summed, int shards) override;
  std::map<std::string, at::Tensor> running() const override;
  void finish() override;
  at::Tensor embed(CsrBlock const& counts) const override;
  GenePrediction decode(at::Tensor const& latents) const override;
  at::Tensor reconstruction_error(std::shared_ptr<CsrBlock const> const& counts,
                                  GenePrediction const& decoded) const override;
  void save(std::filesystem::path const& folder, VaeOrigin const& origin) const override;

 private:
  struct Weights;
  ScviShape shape_;
  std::shared_ptr<Weights> weights_;
};

}  // namespace retort
