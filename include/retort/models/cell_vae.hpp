// What retort-train-vae and retort-generate ask of an autoencoder of counts.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "retort/cells/csr_block.hpp"
#include "retort/layers/parameters.hpp"
#include "retort/layers/precision.hpp"
#include "retort/run/random.hpp"

namespace retort {

// What a shard's loss may draw from, how much the distance to the prior weighs, and the numbers of its products.
struct VaeDraw {
  Random random;
  double kl_weight = 0;
  Precision precision = Precision::float32;
};

// What a decoder says of each gene of n cells. Negative binomial: the mean of counts is library * softmax(logits), the
// inverse dispersion exp(log_theta).
struct GenePrediction {
  at::Tensor logits;     // [n, genes]; Gaussian: the mean of log-normalised expression
  at::Tensor log_theta;  // [genes] or [n, genes]; none where Gaussian
};

// Where a model comes from; kept beside its weights.
struct VaeOrigin {
  std::vector<std::string> gene_names;
  std::string atlas;  // identity
};

class CellVae {
 public:
  virtual ~CellVae() = default;
  virtual Parameters const& parameters() const = 0;
  // Numbers of an embedding.
  virtual std::int64_t width() const = 0;
  // [genes, numbers of a gene's vector], memory of a parameter; none where genes have no vectors.
  virtual at::Tensor gene_vectors() const { return {}; }

  // A shard's mean loss over its cells, differentiable; `statistics` [statistics()] gets loss, reconstruction error and
  // KL, then what running() needs.
  virtual at::Tensor shard_loss(std::shared_ptr<CsrBlock const> const& counts, VaeDraw const& draw,
                                at::Tensor const& statistics) = 0;
  virtual std::int64_t statistics() const { return 3; }
  // After a step, from the sum of statistics over shards: moves running statistics by the same bits on every rank.
  virtual void update_running(at::Tensor const&, int) {}
  // What else than parameters a step changes, for checkpoints.
  virtual std::map<std::string, at::Tensor> running() const { return {}; }
  // Ends training: running statistics become part of the weights.
  virtual void finish() {}

  // Inference. Counts -> embeddings [n, width()], means of posteriors; and back.
  virtual at::Tensor embed(CsrBlock const& counts) const = 0;
  virtual GenePrediction decode(at::Tensor const& latents) const = 0;
  // Of each cell [n]: minus the log likelihood of its counts, summed over genes (methods 3.7, RE); Gaussian: the sum of
  // squared errors.
  virtual at::Tensor reconstruction_error(std::shared_ptr<CsrBlock const> const& counts,
                                          GenePrediction const& decoded) const = 0;

  // Publishes a folder of weights and config.json. Not collective: one rank calls it. Throws Failure(cannot_write).
  virtual void save(std::filesystem::path const& folder, VaeOrigin const& origin) const = 0;
  // As stored with the weights; empty for a new model.
  VaeOrigin origin;
};

// Whichever model a folder holds. Throws Failure(missing_input, bad_input).
std::unique_ptr<CellVae> load_vae(std::filesystem::path const& folder);

}  // namespace retort
