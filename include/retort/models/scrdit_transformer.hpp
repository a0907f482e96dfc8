// scRDiT's transformer (methods 2.3): predicts the noise in a cell's expression, cut into patches of genes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/layers/layers.hpp"

namespace retort {

inline constexpr std::int64_t most_scrdit_tokens = 1 << 14;

// The sizes of its code; the paper's depth is 3. Genes are a multiple of the patch, the width of the heads and of 4.
struct ScrditTransformerShape {
  std::int64_t genes = 2000;
  std::int64_t patch = 10;  // genes of a token
  std::int64_t width = 768;
  std::int64_t depth = 3;
  std::int64_t heads = 8;
};

class ScrditTransformer {
 public:
  // Glorot's initialisation from `seed`; adaLN and the last layer are zero, so the first prediction is exactly 0.
  // Throws Failure(usage) for sizes that do not divide, or more than most_scrdit_tokens.
  ScrditTransformer(ScrditTransformerShape const& shape, std::uint64_t seed);

  ScrditTransformerShape const& shape() const { return shape_; }
  Parameters const& parameters() const { return parameters_; }

  // Noisy expression x [n, genes] at t, int64 [n], scRDiT's index 0 .. 999 of the schedule, -> the noise in it [n,
  // genes]. Differentiable in x and in the parameters.
  at::Tensor predict(at::Tensor const& x, at::Tensor const& t) const;

 private:
  // adaLN-Zero (Peebles & Xie 2023): shift, scale and gate of the attention, then of the two layers behind it, are
  // `ada` of the time.
  struct Block {
    SelfAttention attention;
    Linear widen, narrow, ada;
    at::Tensor operator()(at::Tensor const& x, at::Tensor const& activated_time) const;
  };

  ScrditTransformerShape shape_;
  Parameters parameters_;
  at::Tensor positions_;  // [genes / patch, width], not trained
  Linear embed_, time_in_, time_out_, ada_, out_;
  std::vector<Block> blocks_;
};

}  // namespace retort
