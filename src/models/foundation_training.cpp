#include "retort/models/foundation_training.hpp"

#include <ATen/ATen.h>

#include "retort/kernels/accumulating_linear.hpp"
#include "retort/kernels/sparse_linear.hpp"
#include "retort/losses/sparse_mse.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr std::int64_t losses_of_a_shard = 4;
constexpr std::uint32_t streams_of_a_shard = 64;  // one for each layer with dropout

// Sixteen random bits decide whether a value is kept, so that a draw serves two: it is when they are below this.
std::uint32_t kept_below(double rate) { return static_cast<std::uint32_t>(std::lround((1.0 - rate) * 65536.0)); }

at::Tensor dropped(at::Tensor const& values, double rate, Random draw) {
  if (rate <= 0) return values;
  at::Tensor const mask = at::empty(values.sizes(), at::kFloat);
  float* const out = mask.data_ptr<float>();
  std::uint32_t const threshold = kept_below(rate);
  float const factor = 65536.0f / static_cast<float>(threshold);
  auto const pairs = mask.numel() / 2;
  for (std::int64_t i = 0; i < pairs; ++i) {
    std::uint32_t const bits = draw.bits();
    out[2 * i] = (bits & 0xFFFF) < threshold ? factor : 0.0f;
    out[2 * i + 1] = (bits >> 16) < threshold ? factor : 0.0f;
  }
  if (mask.numel() % 2) out[2 * pairs] = (draw.bits() & 0xFFFF) < threshold ? factor : 0.0f;
  return values * mask.to(values.device());
}

// One pass through a shard's layers: where its statistics go and which stream of numbers is next.
struct Pass {
  double rate;
  std::uint64_t seed;
  std::int64_t step;
  int shard;
  std::uint32_t stream = 0;
  std::vector<at::Tensor> moments{};  // mean and variance of each layer, in order

  Random draw() {
    return Random(seed, purpose::dropout, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(shard) * streams_of_a_shard + stream++);
  }
  // BatchNorm with the shard's statistics and PReLU. With momentum 1 PyTorch leaves exactly the batch's mean and unbiased
  // variance in the running buffers that it is given.
  at::Tensor normalised(at::Tensor const& hidden, HiddenLayer const& layer) {
    at::Tensor const mean = at::zeros_like(layer.running_mean), variance = at::zeros_like(layer.running_variance);
    moments.insert(moments.end(), {mean, variance});
    constexpr bool training = true, cudnn = false;
    return at::prelu(at::batch_norm(hidden, layer.scale, layer.shift, mean, variance, training, 1.0, batch_norm_epsilon, cudnn), layer.slope);
  }
};

at::Tensor linear(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias) {
  return accumulating_linear(input, weight, bias, weight.grad());
}

at::Tensor embed(Foundation const& model, CsrBlock const& cells, double input_rate, Pass& pass) {
  auto const& first = model.encoder_layers[0];
  at::Tensor hidden = sparse_linear(drop_nonzeros(cells, input_rate, pass.draw()), first.weight, first.bias, first.weight.grad());
  hidden = pass.normalised(hidden, first);
  for (std::size_t i = 1; i < model.encoder_layers.size(); ++i) {
    auto const& layer = model.encoder_layers[i];
    hidden = pass.normalised(linear(dropped(hidden, pass.rate, pass.draw()), layer.weight, layer.bias), layer);
  }
  at::Tensor const raw = linear(hidden, model.encoder_weight, model.encoder_bias);
  return raw / raw.norm(2, {1}, true).clamp_min(1e-12);  // [n, latent]
}

at::Tensor reconstruct(Foundation const& model, at::Tensor const& latents, Pass& pass) {
  at::Tensor hidden = latents;
  for (std::size_t i = 0; i < model.decoder_layers.size(); ++i) {
    auto const& layer = model.decoder_layers[i];
    if (i > 0) hidden = dropped(hidden, pass.rate, pass.draw());
    hidden = pass.normalised(linear(hidden, layer.weight, layer.bias), layer);
  }
  return linear(hidden, model.decoder_weight, model.decoder_bias);  // [n, genes]
}

}  // namespace

CsrBlock drop_nonzeros(CsrBlock const& cells, double rate, Random draw) {
  if (rate <= 0) return cells;
  std::uint32_t const threshold = kept_below(rate);
  float const factor = 65536.0f / static_cast<float>(threshold);
  auto const nonzeros = cells.indices.size();
  CsrBlock out;
  out.genes = cells.genes;
  out.indices.resize(nonzeros);
  out.values.resize(nonzeros);
  std::size_t kept = 0, next = 0;
  std::uint32_t bits = 0;
  for (std::int64_t i = 0; i < cells.rows(); ++i) {
    for (auto const end = static_cast<std::size_t>(cells.indptr[static_cast<std::size_t>(i) + 1]); next < end; ++next) {
      bits = next % 2 ? bits >> 16 : draw.bits();
      out.indices[kept] = cells.indices[next];  // overwritten by the next one where this is dropped
      out.values[kept] = cells.values[next] * factor;
      kept += (bits & 0xFFFF) < threshold;
    }
    out.indptr.push_back(static_cast<std::int64_t>(kept));
  }
  out.indices.resize(kept);
  out.values.resize(kept);
  return out;
}

void require_sane(FoundationLoss const& loss) {
  for (auto const& [name, rate] : {std::pair("input_dropout", loss.input_dropout), std::pair("dropout", loss.dropout)}) {
    if (!(rate >= 0 && rate <= 0.99)) fail(ExitCode::usage, "foundation.{} is {} (it is a share of values that are set to zero). Give a value from 0 to 0.99", name, rate);
  }
  if (!(loss.triplet_weight >= 0 && loss.triplet_weight <= 1)) fail(ExitCode::usage, "foundation.triplet_weight is {} (the reconstruction's weight is 1 - this). Give a value from 0 to 1", loss.triplet_weight);
  if (!(loss.margin >= 0)) fail(ExitCode::usage, "foundation.margin is {} (a distance). Give a value of 0 or more", loss.margin);
}

FoundationTraining::FoundationTraining(Foundation& model, FoundationLoss const& loss) : model_(model), loss_(loss) {}

std::int64_t FoundationTraining::statistics() const {
  std::int64_t length = losses_of_a_shard;
  for (auto const* layers : {&model_.encoder_layers, &model_.decoder_layers}) {
    for (auto const& layer : *layers) length += 2 * layer.width();
  }
  return length;
}

at::Tensor FoundationTraining::shard_loss(CsrBlock const& cells, std::span<std::int32_t const> labels, std::uint64_t seed, std::int64_t step,
                                          int shard, at::Tensor const& statistics) {
  Pass pass{loss_.dropout, seed, step, shard};
  at::Tensor const latents = embed(model_, cells, loss_.input_dropout, pass);
  at::Tensor const error = sparse_mse(reconstruct(model_, latents, pass), cells);
  Random const draw(seed, purpose::triplet, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(shard));
  auto const triplet = triplet_loss(latents, labels, loss_.mining, loss_.margin, draw);
  at::Tensor const loss = (1.0 - loss_.triplet_weight) * error + loss_.triplet_weight * triplet.loss;

  at::NoGradGuard no_grad;
  at::Tensor const triplets = at::scalar_tensor(triplet.triplets, loss.options());
  pass.moments.insert(pass.moments.begin(), at::stack({loss, error, triplet.loss, triplets}));
  statistics.add_(at::cat(pass.moments));
  return loss;
}

StepStatistics FoundationTraining::update_running(at::Tensor const& summed, int shards) {
  at::NoGradGuard no_grad;
  at::Tensor const means = summed / static_cast<double>(shards);
  std::int64_t place = losses_of_a_shard;
  for (auto* layers : {&model_.encoder_layers, &model_.decoder_layers}) {
    for (auto& layer : *layers) {
      for (auto* running : {&layer.running_mean, &layer.running_variance}) {
        running->lerp_(means.narrow(0, place, layer.width()), batch_norm_momentum);
        place += layer.width();
      }
    }
  }
  ++model_.trained_steps;
  at::Tensor const losses = means.narrow(0, 0, losses_of_a_shard).cpu();
  float const* const values = losses.const_data_ptr<float>();
  return {values[0], values[1], values[2], values[3]};
}

}  // namespace retort
