#include "retort/models/scldm_transformer.hpp"

#include <ATen/ATen.h>

#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr std::int64_t time_width = 256;
constexpr double epsilon = 1e-8;

}  // namespace

ScldmTransformer::ScldmTransformer(ScldmTransformerShape shape, std::uint64_t seed)
    : shape_(std::move(shape)), parameters_(seed, network::scldm_dit) {
  auto const width = shape_.width;
  if (shape_.tokens < 1 || shape_.latent < 1 || shape_.blocks < 1)
    fail(ExitCode::usage, "the transformer has a size that is not positive (tokens, latent or blocks)");
  if (shape_.heads < 1 || width < 2 || width % shape_.heads || width % 2)
    fail(ExitCode::usage, "diffusion.width {} does not suit {} heads (it must be a multiple of them, and even)", width,
         shape_.heads);
  positions_ = sinusoids(at::arange(shape_.tokens, at::kFloat), width, SinusoidOrder::sine_first);
  inp_ = make_linear(parameters_, "inp", shape_.latent, width);
  for (std::size_t a = 0; a < shape_.attributes.size(); ++a)
    tables_.push_back(parameters_.normal(fmt::format("label.{}.weight", a), {none(a) + 1, width}, 0.02));
  time_in_ = make_linear(parameters_, "time.0", time_width, width);
  time_out_ = make_linear(parameters_, "time.2", width, width);
  for (std::int64_t i = 0; i < shape_.blocks; ++i) {
    auto const name = fmt::format("blocks.{}.", i);
    Linear const qkv = make_linear(parameters_, name + "attn.qkv", width, 3 * width),
                 out = make_linear(parameters_, name + "attn.out", width, width);
    SwiGlu const mlp = make_swiglu(parameters_, name + "mlp", width);
    blocks_.push_back({{qkv, out, shape_.heads}, mlp, make_zero_linear(parameters_, name + "ada", width, 6 * width)});
  }
  ada_ = make_zero_linear(parameters_, "ada", width, 2 * width);
  out_ = make_zero_linear(parameters_, "out", width, shape_.latent);
}

at::Tensor ScldmTransformer::Block::operator()(at::Tensor const& x, at::Tensor const& activated_condition) const {
  LayerNorm const norm = plain_layer_norm(x.size(2), epsilon);
  auto const c = ada(activated_condition).unsqueeze(1).chunk(6, -1);  // each [n, 1, width]
  at::Tensor const attended = gated(x, c[2], attention(modulated(norm(x), c[1], c[0])));
  return gated(attended, c[5], mlp(modulated(norm(attended), c[4], c[3])));
}

at::Tensor ScldmTransformer::velocity(at::Tensor const& z, at::Tensor const& t, at::Tensor const& labels) const {
  at::Tensor condition =
      time_out_(at::silu(time_in_(sinusoids(t, time_width, SinusoidOrder::cosine_first))));  // [n, width]
  for (std::size_t a = 0; a < tables_.size(); ++a)
    condition = condition + at::embedding(tables_[a], labels.select(1, static_cast<std::int64_t>(a)));
  condition = at::silu(condition);
  at::Tensor tokens = inp_(z) + positions_;  // [n, tokens, width]
  for (auto const& block : blocks_) tokens = block(tokens, condition);
  auto const c = ada_(condition).unsqueeze(1).chunk(2, -1);
  return out_(modulated(plain_layer_norm(shape_.width, epsilon)(tokens), c[0], c[1]));
}

}  // namespace retort
