// scDD's single-step conditional generator (methods 1.3): a denoiser U that predicts the clean latent.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "retort/models/noise_schedule.hpp"

namespace retort {

// The layers are scDiffusion's (guided_diffusion/cell_model.py) with its script's sizes; scDD states none.
struct ScdgShape {
  std::int64_t latent = 128;
  std::int64_t classes = 0;
  std::vector<std::int64_t> hidden{512, 512, 256, 128};
  // Features are multiplied by it before noise is added. Features have unit norm, so without it the signal drowns at
  // t = 12 of 1000 (methods 1.3.2). 0 means sqrt(latent), which gives them unit mean square.
  double latent_scale = 0;
};

class Scdg {
 public:
  // PyTorch's default initialisation of Linear, LayerNorm and Embedding, drawn from `seed`.
  Scdg(ScdgShape shape, std::uint64_t seed);
  // Throws Failure(missing_input, bad_input).
  static Scdg load(std::filesystem::path const& folder);
  // Publishes a folder of scdg.safetensors and config.json (shape, class names, the encoder's hash, the atlas's
  // identity, schedule). Not collective: one rank calls it. Throws Failure(cannot_write).
  void save(std::filesystem::path const& folder, std::vector<std::string> const& class_names,
            std::string const& encoder, std::string const& atlas) const;

  ScdgShape const& shape() const { return shape_; }
  // As stored with the weights; empty for a new model.
  std::vector<std::string> const& class_names() const { return class_names_; }
  // The weights_hash of the foundation whose features it was trained on; empty for a new model.
  std::string const& encoder() const { return encoder_; }
  // The identity of the atlas whose fit part it was trained on; empty for a new model.
  std::string const& atlas() const { return atlas_; }
  // In order of use; what the arena holds.
  std::vector<at::Tensor> parameters() const;
  // Ends training: parameters no longer require gradients.
  void freeze();

  // Latents scaled by latent_scale [n, latent], t int64 [n] in 1..T, classes int64 [n] -> clean latents, same scale.
  // Differentiable in `latents`, and in the parameters before freeze(). With `shards` the rows are those of so many
  // shards, one after the other, of a block of the GradientArena that begin_block() opened: a row's bits depend on its
  // own shard at most, and gradients of parameters are the tree over the block's shards.
  at::Tensor denoise(at::Tensor const& latents, at::Tensor const& t, at::Tensor const& classes,
                     std::int64_t shards = 0) const;

  // The two halves of denoise(). What (t, class) adds to each layer, one [n, layer's width] a layer, is more than half
  // of the work and does not depend on the latents: distillation computes it once for its fixed t and classes.
  std::vector<at::Tensor> condition(at::Tensor const& t, at::Tensor const& classes, std::int64_t shards = 0) const;
  at::Tensor denoise(at::Tensor const& latents, std::vector<at::Tensor> const& conditions,
                     std::int64_t shards = 0) const;

 private:
  struct Weights;
  ScdgShape shape_;
  std::vector<std::string> class_names_;
  std::string encoder_, atlas_;
  std::shared_ptr<Weights> weights_;
};

}  // namespace retort
