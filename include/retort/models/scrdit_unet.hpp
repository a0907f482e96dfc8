// scRDiT's 1-D U-Net (methods 2.3): predicts the noise in a cell's expression by convolutions along the genes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "retort/layers/layers.hpp"

namespace retort {

// The sizes of its code. The genes are halved three times, so they are a multiple of 8; the channels are one of 4, the
// heads.
struct ScrditUnetShape {
  std::int64_t genes = 2000;
  std::int64_t channels = 64;  // at full length
};

class ScrditUnet {
 public:
  // PyTorch's default initialisation of Conv1d, Linear, GroupNorm, LayerNorm and MultiheadAttention, drawn from `seed`.
  // Throws Failure(usage) for sizes that do not divide.
  ScrditUnet(ScrditUnetShape const& shape, std::uint64_t seed);

  ScrditUnetShape const& shape() const { return shape_; }
  Parameters const& parameters() const { return parameters_; }

  // Noisy expression x [n, genes] at t, int64 [n], scRDiT's index 0 .. 999 of the schedule, -> the noise in it [n,
  // genes]. Differentiable in x and in the parameters.
  at::Tensor predict(at::Tensor const& x, at::Tensor const& t) const;

 private:
  // norm(conv(gelu(norm(conv(x))))), without biases; a residual one adds x and takes a GELU of the sum.
  struct DoubleConvolution {
    at::Tensor first, second;                                         // [middle, in, 3], [out, middle, 3]
    at::Tensor first_scale, first_shift, second_scale, second_shift;  // of the norms over all channels and genes
    bool residual = false;
    at::Tensor operator()(at::Tensor const& x) const;
  };
  // Each gene's channels attend to all genes', then pass two layers; both are added to what came.
  struct GeneAttention {
    LayerNorm norm, second_norm;
    SelfAttention attention;
    Linear first, second;
    at::Tensor operator()(at::Tensor const& x) const;
  };
  // What is done at one length, after the genes were halved or doubled.
  struct Stage {
    DoubleConvolution first, second;
    Linear time;
    GeneAttention attention;
    at::Tensor operator()(at::Tensor const& x, at::Tensor const& activated_time) const;
  };
  DoubleConvolution make_double_convolution(std::string const& name, std::int64_t in, std::int64_t middle,
                                            std::int64_t out, bool residual = false);
  GeneAttention make_gene_attention(std::string const& name, std::int64_t channels);
  Stage make_stage(std::string const& name, std::int64_t in, std::int64_t middle, std::int64_t out);

  ScrditUnetShape shape_;
  Parameters parameters_;
  DoubleConvolution in_;
  std::vector<Stage> down_, up_;
  std::vector<DoubleConvolution> middle_;
  at::Tensor out_weight_, out_bias_;  // [1, channels, 1], [1]
};

}  // namespace retort
