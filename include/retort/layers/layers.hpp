// The layers that the generative networks are made of, each as its paper's code has it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "retort/layers/parameters.hpp"

namespace retort {

// x [..., in] -> [..., out]. In training the weight's gradient is added where the arena keeps it; with `shards`, x [n,
// in] holds the rows of so many shards of a block of the arena, and gradients are written (shard_linear).
struct Linear {
  at::Tensor weight, bias;  // [out, in], [out] or none
  at::Tensor operator()(at::Tensor const& x, std::int64_t shards = 0) const;
};
enum class Bias { none, yes };
// NAME.weight and NAME.bias by PyTorch's default initialisation: uniform within 1 / sqrt(in).
Linear make_linear(Parameters& parameters, std::string const& name, std::int64_t in, std::int64_t out,
                   Bias bias = Bias::yes);
// By Glorot's uniform initialisation, bias zero; and with nothing but zeros.
Linear make_xavier_linear(Parameters& parameters, std::string const& name, std::int64_t in, std::int64_t out);
Linear make_zero_linear(Parameters& parameters, std::string const& name, std::int64_t in, std::int64_t out);

// Over the last dimension; float32 also of what Autocast made bfloat16.
struct LayerNorm {
  at::Tensor scale, shift;  // [width], or none
  std::int64_t width = 0;
  double epsilon = 1e-5;
  at::Tensor operator()(at::Tensor const& x) const;
};
// NAME.weight, ones, and NAME.bias, zeros.
LayerNorm make_layer_norm(Parameters& parameters, std::string const& name, std::int64_t width, double epsilon);
LayerNorm plain_layer_norm(std::int64_t width, double epsilon);

// Heads are contiguous slices of the last dimension; scale 1 / sqrt(width of a head); no mask, no dropout.
// q [b, n, width], k and v [b, m, width] -> [b, n, width].
at::Tensor attention(at::Tensor const& q, at::Tensor const& k, at::Tensor const& v, std::int64_t heads);

// Attention of tokens [b, n, width] among each other; qkv is [q; k; v].
struct SelfAttention {
  Linear qkv, out;
  std::int64_t heads = 1;
  at::Tensor operator()(at::Tensor const& x) const;
};

// Adaptive layer norm (Peebles & Xie 2023): x (1 + scale) + shift, and a branch's way back, x + gate * branch. x and
// branch [b, n, width]; shift, scale and gate [b, 1, width].
at::Tensor modulated(at::Tensor const& x, at::Tensor const& shift, at::Tensor const& scale);
at::Tensor gated(at::Tensor const& x, at::Tensor const& gate, at::Tensor const& branch);

// w3(silu(w1 x) * w2 x), without biases (Shazeer 2020). scLDM's hidden width: floor(8/3 n), rounded up to a multiple
// of 4.
struct SwiGlu {
  Linear w1, w2, w3;
  at::Tensor operator()(at::Tensor const& x) const;
};
std::int64_t swiglu_hidden(std::int64_t width);
SwiGlu make_swiglu(Parameters& parameters, std::string const& name, std::int64_t width);

// Sinusoids of times t float32 [n] -> [n, width]: cosines then sines, or the other way; frequencies 10000^(-k / (width
// / 2)).
enum class SinusoidOrder { cosine_first, sine_first };
at::Tensor sinusoids(at::Tensor const& t, std::int64_t width, SinusoidOrder order);

}  // namespace retort
