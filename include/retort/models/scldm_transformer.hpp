// scLDM's diffusion transformer (methods 3.5): the velocity of latent tokens on the way from noise to cells.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "retort/layers/layers.hpp"

namespace retort {

// What cells are conditioned on: a column of labels, or all combinations of several as one column.
struct Attribute {
  std::string name;
  std::vector<std::string> classes;
  bool operator==(Attribute const&) const = default;
};

struct ScldmTransformerShape {
  std::int64_t tokens = 16, latent = 16;  // of the autoencoder
  std::int64_t width = 256;
  std::int64_t blocks = 8, heads = 8;
  std::vector<Attribute> attributes;
};

class ScldmTransformer {
 public:
  // PyTorch's default initialisation, label tables normal(0, 0.02); adaLN and the last layer are zero, so the first
  // prediction is exactly 0. Throws Failure(usage) where sizes do not go together.
  ScldmTransformer(ScldmTransformerShape shape, std::uint64_t seed);

  ScldmTransformerShape const& shape() const { return shape_; }
  Parameters const& parameters() const { return parameters_; }
  // The code of "no label" of attribute `a`: one past its classes.
  std::int64_t none(std::size_t a) const { return std::ssize(shape_.attributes[a].classes); }

  // z [n, tokens, latent] at times t float32 [n] in [0, 1] (noise at 0, cells at 1) under labels int64 [n, attributes]
  // -> dz/dt. An attribute's label may be none(); the embeddings of all are added up. Differentiable in z and in the
  // parameters.
  at::Tensor velocity(at::Tensor const& z, at::Tensor const& t, at::Tensor const& labels) const;

 private:
  // Chunks of `ada` in the order of the public checkpoints: scale, shift, gate of the attention, then of the layers
  // behind it.
  struct Block {
    SelfAttention attention;
    SwiGlu mlp;
    Linear ada;
    at::Tensor operator()(at::Tensor const& x, at::Tensor const& activated_condition) const;
  };

  ScldmTransformerShape shape_;
  Parameters parameters_;
  at::Tensor positions_;  // [tokens, width], not trained
  Linear inp_, time_in_, time_out_, ada_, out_;
  std::vector<at::Tensor> tables_;  // [classes + 1, width], one an attribute
  std::vector<Block> blocks_;
};

}  // namespace retort
