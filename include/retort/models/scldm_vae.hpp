// scLDM's autoencoder of gene sets (methods 3.2 to 3.4; Palla et al. 2025): any order of genes in, latent tokens
// between, all genes out.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "retort/models/cell_vae.hpp"

namespace retort {

// How a gene and its count become one token: `log1p` multiplies the gene's vector by log(1 + count), as the public code
// does; `concat` is the paper's Linear of both side by side. Under log1p the LayerNorm before the keys takes the count
// away again: the encoder sees which genes a cell expresses, not how much (docs/decisions.md).
enum class Fusion { log1p, concat };
// Which genes of a cell are tokens.
enum class TokenGenes { expressed, all };
// Negative binomial with one dispersion a gene or one a cell and gene; or squared errors of log-normalised expression.
enum class CellLikelihood { shared_dispersion, own_dispersion, gaussian };

struct ScldmVaeShape {
  std::int64_t genes = 0;
  std::int64_t width = 32;   // of a token
  std::int64_t tokens = 16;  // latent tokens of a cell
  std::int64_t latent = 16;  // width of a latent token
  std::int64_t blocks = 8;   // transformer blocks, in the encoder and in the decoder
  std::int64_t heads = 8, cross_heads = 4;
  // `expressed`: a cell is padded to this many tokens, which the softmax sees as the public code has it; 0: no pads.
  std::int64_t length = 0;
  Fusion fusion = Fusion::concat;
  TokenGenes token_genes = TokenGenes::expressed;
  CellLikelihood likelihood = CellLikelihood::shared_dispersion;
  bool posterior = false;  // a Gaussian over latents (the paper's), instead of normalised tokens (the code's)
};

class ScldmVae : public CellVae {
 public:
  // PyTorch's default initialisation, drawn from `seed`. Throws Failure(usage) where sizes do not go together.
  ScldmVae(ScldmVaeShape const& shape, std::uint64_t seed);
  // Throws Failure(missing_input, bad_input).
  static std::unique_ptr<ScldmVae> load(std::filesystem::path const& folder);

  ScldmVaeShape const& shape() const { return shape_; }

  // Counts of n cells -> latent tokens [n, tokens, latent], each of zero mean and unit variance over its channels; with
  // a posterior, means in the first half of the last dimension and log variances in the second. Independent of the
  // order of genes. Throws Failure(bad_input) where a cell has more expressed genes than `length`.
  at::Tensor encode(CsrBlock const& counts) const;
  // What a posterior draws from standard normal noise [n, tokens, latent]; without one, `encoded` itself.
  at::Tensor latents(at::Tensor const& encoded, at::Tensor const& noise) const;

  Parameters const& parameters() const override;
  std::int64_t width() const override { return shape_.tokens * shape_.latent; }
  at::Tensor gene_vectors() const override;
  at::Tensor shard_loss(std::shared_ptr<CsrBlock const> const& counts, VaeDraw const& draw,
                        at::Tensor const& statistics) override;
  at::Tensor embed(CsrBlock const& counts) const override;
  GenePrediction decode(at::Tensor const& latents) const override;
  at::Tensor reconstruction_error(std::shared_ptr<CsrBlock const> const& counts,
                                  GenePrediction const& decoded) const override;
  void save(std::filesystem::path const& folder, VaeOrigin const& origin) const override;

 private:
  struct Weights;
  ScldmVaeShape shape_;
  std::shared_ptr<Weights> weights_;
};

// As settings and files name them; fusion_of and the like throw Failure(usage) for another name.
std::string name_of(Fusion fusion);
std::string name_of(TokenGenes genes);
std::string name_of(CellLikelihood likelihood);
Fusion fusion_of(std::string const& name);
TokenGenes token_genes_of(std::string const& name);
CellLikelihood likelihood_of(std::string const& name);

}  // namespace retort
