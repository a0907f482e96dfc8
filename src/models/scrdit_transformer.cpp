#include "retort/models/scrdit_transformer.hpp"

#include <ATen/ATen.h>

#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr std::int64_t time_width = 256;
constexpr double epsilon = 1e-6;

void check(ScrditTransformerShape const& shape) {
  if (shape.patch < 1 || shape.genes < 1 || shape.genes % shape.patch)
    fail(ExitCode::usage, "{} genes cannot be cut into patches of {} (every token holds the same number of genes)",
         shape.genes, shape.patch);
  if (shape.genes / shape.patch > most_scrdit_tokens)
    fail(ExitCode::usage,
         "{} genes in patches of {} are {} tokens (attention takes their square; {} are the most). Raise "
         "diffusion.patch",
         shape.genes, shape.patch, shape.genes / shape.patch, most_scrdit_tokens);
  if (shape.heads < 1 || shape.width < 1 || shape.width % shape.heads || shape.width % 4)
    fail(ExitCode::usage,
         "the width {} does not suit {} heads (it must be a multiple of the heads, and of 4 for the position table)",
         shape.width, shape.heads);
  if (shape.depth < 1) fail(ExitCode::usage, "the transformer has {} blocks (it needs one)", shape.depth);
}

// Its code builds the 2-D table of images on a grid of width 1: the first half encodes the constant 0, the second the
// place.
at::Tensor position_table(std::int64_t tokens, std::int64_t width) {
  auto const half = width / 2;
  return at::cat({sinusoids(at::zeros({tokens}), half, SinusoidOrder::sine_first),
                  sinusoids(at::arange(tokens), half, SinusoidOrder::sine_first)},
                 1);
}

Linear make_time_linear(Parameters& parameters, std::string const& name, std::int64_t in, std::int64_t out) {
  Linear linear{parameters.normal(name + ".weight", {out, in}, 0.02), {}};
  linear.bias = parameters.constant(name + ".bias", {out}, 0);
  return linear;
}

}  // namespace

ScrditTransformer::ScrditTransformer(ScrditTransformerShape const& shape, std::uint64_t seed)
    : shape_(shape), parameters_(seed, network::scrdit_dit) {
  check(shape_);
  auto const width = shape_.width;
  positions_ = position_table(shape_.genes / shape_.patch, width);
  embed_ = make_xavier_linear(parameters_, "embed", shape_.patch, width);
  time_in_ = make_time_linear(parameters_, "time.0", time_width, width);
  time_out_ = make_time_linear(parameters_, "time.2", width, width);
  for (std::int64_t i = 0; i < shape_.depth; ++i) {
    auto const name = fmt::format("blocks.{}.", i);
    Block block;
    block.attention.heads = shape_.heads;
    block.attention.qkv = make_xavier_linear(parameters_, name + "qkv", width, 3 * width);
    block.attention.out = make_xavier_linear(parameters_, name + "proj", width, width);
    block.widen = make_xavier_linear(parameters_, name + "fc1", width, 4 * width);
    block.narrow = make_xavier_linear(parameters_, name + "fc2", 4 * width, width);
    block.ada = make_zero_linear(parameters_, name + "ada", width, 6 * width);
    blocks_.push_back(block);
  }
  ada_ = make_zero_linear(parameters_, "ada", width, 2 * width);
  out_ = make_zero_linear(parameters_, "out", width, shape_.patch);
}

at::Tensor ScrditTransformer::Block::operator()(at::Tensor const& x, at::Tensor const& activated_time) const {
  LayerNorm const norm = plain_layer_norm(x.size(2), epsilon);
  auto const c = ada(activated_time).unsqueeze(1).chunk(6, -1);  // each [n, 1, width]
  at::Tensor const attended = gated(x, c[2], attention(modulated(norm(x), c[0], c[1])));
  return gated(attended, c[5], narrow(at::gelu(widen(modulated(norm(attended), c[3], c[4])), "tanh")));
}

at::Tensor ScrditTransformer::predict(at::Tensor const& x, at::Tensor const& t) const {
  at::Tensor const time =
      at::silu(time_out_(at::silu(time_in_(sinusoids(t, time_width, SinusoidOrder::cosine_first)))));  // [n, width]
  at::Tensor tokens = embed_(x.unflatten(1, {-1, shape_.patch})) + positions_;  // [n, tokens, width]
  for (auto const& block : blocks_) tokens = block(tokens, time);
  auto const c = ada_(time).unsqueeze(1).chunk(2, -1);
  return out_(modulated(plain_layer_norm(shape_.width, epsilon)(tokens), c[0], c[1])).flatten(1);
}

}  // namespace retort
