#include "retort/models/scrdit_unet.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr std::int64_t time_width = 256, heads = 4, kernel = 3, halvings = 3;
constexpr double epsilon = 1e-5;

at::Tensor convolution_weight(Parameters& parameters, std::string const& name, std::int64_t in, std::int64_t out,
                              std::int64_t size) {
  return parameters.uniform(name, {out, in, size}, 1 / std::sqrt(static_cast<double>(in * size)));
}

at::Tensor convolved(at::Tensor const& x, at::Tensor const& weight) { return at::conv1d(x, weight, {}, 1, kernel / 2); }

// Over all channels and genes of a cell; float32 also of what Autocast made bfloat16.
at::Tensor normed(at::Tensor const& x, at::Tensor const& scale, at::Tensor const& shift) {
  return at::group_norm(x.to(at::kFloat), 1, scale, shift, epsilon);
}

}  // namespace

ScrditUnet::DoubleConvolution ScrditUnet::make_double_convolution(std::string const& name, std::int64_t in,
                                                                  std::int64_t middle, std::int64_t out,
                                                                  bool residual) {
  DoubleConvolution made;
  made.first = convolution_weight(parameters_, name + ".net.0.weight", in, middle, kernel);
  made.first_scale = parameters_.constant(name + ".net.1.weight", {middle}, 1);
  made.first_shift = parameters_.constant(name + ".net.1.bias", {middle}, 0);
  made.second = convolution_weight(parameters_, name + ".net.3.weight", middle, out, kernel);
  made.second_scale = parameters_.constant(name + ".net.4.weight", {out}, 1);
  made.second_shift = parameters_.constant(name + ".net.4.bias", {out}, 0);
  made.residual = residual;
  return made;
}

ScrditUnet::GeneAttention ScrditUnet::make_gene_attention(std::string const& name, std::int64_t channels) {
  GeneAttention made;
  made.norm = make_layer_norm(parameters_, name + ".norm", channels, epsilon);
  made.attention.heads = heads;
  made.attention.qkv.weight = parameters_.uniform(name + ".mha.in_proj_weight", {3 * channels, channels},
                                                  std::sqrt(6 / static_cast<double>(4 * channels)));
  made.attention.qkv.bias = parameters_.constant(name + ".mha.in_proj_bias", {3 * channels}, 0);
  made.attention.out.weight = parameters_.uniform(name + ".mha.out_proj.weight", {channels, channels},
                                                  1 / std::sqrt(static_cast<double>(channels)));
  made.attention.out.bias = parameters_.constant(name + ".mha.out_proj.bias", {channels}, 0);
  made.second_norm = make_layer_norm(parameters_, name + ".ff.0", channels, epsilon);
  made.first = make_linear(parameters_, name + ".ff.1", channels, channels);
  made.second = make_linear(parameters_, name + ".ff.3", channels, channels);
  return made;
}

ScrditUnet::Stage ScrditUnet::make_stage(std::string const& name, std::int64_t in, std::int64_t middle,
                                         std::int64_t out) {
  Stage made;
  made.first = make_double_convolution(name + ".conv1", in, in, in, true);
  made.second = make_double_convolution(name + ".conv2", in, middle, out);
  made.time = make_linear(parameters_, name + ".time", time_width, out);
  made.attention = make_gene_attention(name + ".attend", out);
  return made;
}

ScrditUnet::ScrditUnet(ScrditUnetShape const& shape, std::uint64_t seed)
    : shape_(shape), parameters_(seed, network::scrdit_unet) {
  if (shape_.genes < 1 || shape_.genes % (1 << halvings))
    fail(ExitCode::usage, "{} genes cannot be halved {} times (the U-Net needs a multiple of {})", shape_.genes,
         halvings, 1 << halvings);
  if (shape_.channels < 1 || shape_.channels % heads)
    fail(ExitCode::usage, "{} channels do not suit {} heads (the U-Net needs a multiple of them)", shape_.channels,
         heads);
  auto const c = shape_.channels;
  in_ = make_double_convolution("inc", 1, c, c);
  down_.push_back(make_stage("down.0", c, 2 * c, 2 * c));
  down_.push_back(make_stage("down.1", 2 * c, 4 * c, 4 * c));
  down_.push_back(make_stage("down.2", 4 * c, 4 * c, 4 * c));
  middle_.push_back(make_double_convolution("mid.0", 4 * c, 8 * c, 8 * c));
  middle_.push_back(make_double_convolution("mid.1", 8 * c, 8 * c, 8 * c));
  middle_.push_back(make_double_convolution("mid.2", 8 * c, 4 * c, 4 * c));
  // Half of what goes up comes from below, half from the way down.
  up_.push_back(make_stage("up.0", 8 * c, 4 * c, 2 * c));
  up_.push_back(make_stage("up.1", 4 * c, 2 * c, c));
  up_.push_back(make_stage("up.2", 2 * c, c, c));
  out_weight_ = convolution_weight(parameters_, "out.weight", c, 1, 1);
  out_bias_ = parameters_.uniform("out.bias", {1}, 1 / std::sqrt(static_cast<double>(c)));
}

at::Tensor ScrditUnet::DoubleConvolution::operator()(at::Tensor const& x) const {
  at::Tensor const inside = at::gelu(normed(convolved(x, first), first_scale, first_shift));
  at::Tensor const result = normed(convolved(inside, second), second_scale, second_shift);
  return residual ? at::gelu(x + result) : result;
}

at::Tensor ScrditUnet::GeneAttention::operator()(at::Tensor const& x) const {
  at::Tensor const by_gene = x.transpose(1, 2).contiguous();  // [n, genes, channels]
  at::Tensor const attended = by_gene + attention(norm(by_gene));
  return (attended + second(at::gelu(first(second_norm(attended))))).transpose(1, 2);
}

at::Tensor ScrditUnet::Stage::operator()(at::Tensor const& x, at::Tensor const& activated_time) const {
  return attention(second(first(x)) + time(activated_time).unsqueeze(2));
}

at::Tensor ScrditUnet::predict(at::Tensor const& x, at::Tensor const& t) const {
  at::Tensor const time = at::silu(sinusoids(t, time_width, SinusoidOrder::sine_first));  // [n, 256]
  std::vector<at::Tensor> passed{in_(x.unsqueeze(1))};                                    // [n, channels, length]
  for (auto const& stage : down_) passed.push_back(stage(at::max_pool1d(passed.back(), 2), time));
  at::Tensor h = passed.back();
  for (auto const& convolution : middle_) h = convolution(h);
  for (auto const& stage : up_) {
    passed.pop_back();
    h = stage(at::cat({passed.back(), at::upsample_linear1d(h, 2 * h.size(2), true)}, 1), time);
  }
  return at::conv1d(h, out_weight_, out_bias_).squeeze(1);
}

}  // namespace retort
