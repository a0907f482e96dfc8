#include "retort/layers/layers.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "retort/kernels/accumulating_linear.hpp"
#include "retort/kernels/shard_linear.hpp"

namespace retort {

at::Tensor Linear::operator()(at::Tensor const& x, std::int64_t shards) const {
  if (shards) return shard_linear(x, weight, bias, shards);
  if (x.dim() == 2) return accumulating_linear(x, weight, bias, weight.grad());
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return accumulating_linear(x.reshape({-1, weight.size(1)}), weight, bias, weight.grad()).view(sizes);
}

Linear make_linear(Parameters& parameters, std::string const& name, std::int64_t in, std::int64_t out, Bias bias) {
  double const bound = 1 / std::sqrt(static_cast<double>(in));
  Linear linear{parameters.uniform(name + ".weight", {out, in}, bound), {}};
  if (bias == Bias::yes) linear.bias = parameters.uniform(name + ".bias", {out}, bound);
  return linear;
}

Linear make_xavier_linear(Parameters& parameters, std::string const& name, std::int64_t in, std::int64_t out) {
  Linear linear{parameters.uniform(name + ".weight", {out, in}, std::sqrt(6 / static_cast<double>(in + out))), {}};
  linear.bias = parameters.constant(name + ".bias", {out}, 0);
  return linear;
}

Linear make_zero_linear(Parameters& parameters, std::string const& name, std::int64_t in, std::int64_t out) {
  Linear linear{parameters.constant(name + ".weight", {out, in}, 0), {}};
  linear.bias = parameters.constant(name + ".bias", {out}, 0);
  return linear;
}

at::Tensor LayerNorm::operator()(at::Tensor const& x) const {
  return at::layer_norm(x.to(at::kFloat), {width}, scale, shift, epsilon);
}

LayerNorm make_layer_norm(Parameters& parameters, std::string const& name, std::int64_t width, double epsilon) {
  at::Tensor const scale = parameters.constant(name + ".weight", {width}, 1);
  return {scale, parameters.constant(name + ".bias", {width}, 0), width, epsilon};
}

LayerNorm plain_layer_norm(std::int64_t width, double epsilon) { return {{}, {}, width, epsilon}; }

at::Tensor attention(at::Tensor const& q, at::Tensor const& k, at::Tensor const& v, std::int64_t heads) {
  // On a CPU float32 also under Autocast: LibTorch's attention in bfloat16 calls tiny products, one a head and cell,
  // which cost more than they save.
  std::optional<c10::impl::ExcludeDispatchKeyGuard> no_autocast;
  if (q.is_cpu()) no_autocast.emplace(c10::autocast_dispatch_keyset);
  auto const split = [heads](at::Tensor const& x) {
    bool const rounded = x.is_cpu() && x.scalar_type() == at::kBFloat16;
    return (rounded ? x.to(at::kFloat) : x).unflatten(-1, {heads, -1}).transpose(1, 2);  // [b, heads, n, width / heads]
  };
  return at::scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).flatten(2);
}

at::Tensor SelfAttention::operator()(at::Tensor const& x) const {
  auto const parts = qkv(x).chunk(3, -1);
  return out(attention(parts[0], parts[1], parts[2], heads));
}

at::Tensor modulated(at::Tensor const& x, at::Tensor const& shift, at::Tensor const& scale) {
  return at::addcmul(shift, x, 1 + scale);
}

at::Tensor gated(at::Tensor const& x, at::Tensor const& gate, at::Tensor const& branch) {
  return at::addcmul(x, gate, branch);
}

at::Tensor SwiGlu::operator()(at::Tensor const& x) const { return w3(at::silu(w1(x)) * w2(x)); }

std::int64_t swiglu_hidden(std::int64_t width) { return (8 * width / 3 + 3) / 4 * 4; }

SwiGlu make_swiglu(Parameters& parameters, std::string const& name, std::int64_t width) {
  auto const hidden = swiglu_hidden(width);
  Linear const w1 = make_linear(parameters, name + ".w1", width, hidden, Bias::none),
               w2 = make_linear(parameters, name + ".w2", width, hidden, Bias::none);
  return {w1, w2, make_linear(parameters, name + ".w3", hidden, width, Bias::none)};
}

at::Tensor sinusoids(at::Tensor const& t, std::int64_t width, SinusoidOrder order) {
  auto const half = width / 2;
  at::Tensor const frequencies =
      at::exp(at::arange(half, t.options().dtype(at::kFloat)) * (-std::log(1e4) / static_cast<double>(half)));
  at::Tensor const angles = t.to(at::kFloat).unsqueeze(1) * frequencies;  // [n, half]
  return order == SinusoidOrder::cosine_first ? at::cat({at::cos(angles), at::sin(angles)}, 1)
                                              : at::cat({at::sin(angles), at::cos(angles)}, 1);
}

}  // namespace retort
