#include "retort/models/foundation_training.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <span>

#include "retort/kernels/shard_linear.hpp"
#include "retort/kernels/shard_parameters.hpp"
#include "retort/kernels/sparse_linear.hpp"
#include "retort/layers/sparse_mse.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

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

// One pass of a block of shards through the layers: where their statistics go and which stream of numbers is next.
struct Pass {
  double rate;
  std::uint64_t seed;
  std::int64_t step, first_shard, shards;
  std::uint32_t stream = 0;
  std::vector<std::vector<at::Tensor>> moments;  // of each shard: mean and variance of each layer, in order

  Random draw(std::int64_t shard) const {
    return Random(seed, purpose::dropout, static_cast<std::uint64_t>(step),
                  static_cast<std::uint32_t>(first_shard + shard) * streams_of_a_shard + stream);
  }
  // BatchNorm with each shard's statistics, PReLU and, before the next layer, dropout. With momentum 1 PyTorch leaves
  // exactly the batch's mean and unbiased variance in the running buffers that it is given.
  at::Tensor normalised(at::Tensor const& hidden, HiddenLayer const& layer, bool then_drop) {
    auto const scales = shard_copies(layer.scale, shards), shifts = shard_copies(layer.shift, shards),
               slopes = shard_copies(layer.slope, shards);
    at::Tensor const result = by_shard(hidden, shards, [&](std::int64_t s, at::Tensor const& part) {
      auto const i = index(s);
      at::Tensor const mean = at::zeros_like(layer.running_mean), variance = at::zeros_like(layer.running_variance);
      moments[i].insert(moments[i].end(), {mean, variance});
      constexpr bool training = true, cudnn = false;
      at::Tensor const values = at::prelu(
          at::batch_norm(part, scales[i], shifts[i], mean, variance, training, 1.0, batch_norm_epsilon, cudnn),
          slopes[i]);
      return then_drop ? dropped(values, rate, draw(s)) : values;
    });
    stream += then_drop;
    return result;
  }
};

at::Tensor embed(Foundation const& model, CsrBlock const& whole, double input_rate, Pass& pass) {
  auto const& layers = model.encoder_layers;
  std::vector<Random> draws;
  for (std::int64_t shard = 0; shard < pass.shards; ++shard) draws.push_back(pass.draw(shard));
  CsrBlock const cells = drop_nonzeros(whole, input_rate, std::move(draws));
  ++pass.stream;
  at::Tensor hidden = sparse_linear(cells, layers[0].weight, layers[0].bias, layers[0].weight.grad(), pass.shards);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (i) hidden = shard_linear(hidden, layers[i].weight, layers[i].bias, pass.shards);
    hidden = pass.normalised(hidden, layers[i], i + 1 < layers.size());
  }
  at::Tensor const raw = shard_linear(hidden, model.encoder_weight, model.encoder_bias, pass.shards);
  return by_shard(raw, pass.shards, [](std::int64_t, at::Tensor const& part) {
    return part / part.norm(2, {1}, true).clamp_min(1e-12);
  });  // [n, latent]
}

at::Tensor reconstruct(Foundation const& model, at::Tensor const& latents, Pass& pass) {
  auto const& layers = model.decoder_layers;
  at::Tensor hidden = latents;
  for (std::size_t i = 0; i < layers.size(); ++i)
    hidden = pass.normalised(shard_linear(hidden, layers[i].weight, layers[i].bias, pass.shards), layers[i],
                             i + 1 < layers.size());
  return shard_linear(hidden, model.decoder_weight, model.decoder_bias, pass.shards);  // [n, genes]
}

}  // namespace

CsrBlock drop_nonzeros(CsrBlock const& cells, double rate, std::vector<Random> draws) {
  if (rate <= 0) return cells;
  std::uint32_t const threshold = kept_below(rate);
  float const factor = 65536.0f / static_cast<float>(threshold);
  auto const nonzeros = cells.indices.size(), rows = index(cells.rows()) / draws.size();  // of a shard
  CsrBlock out;
  out.genes = cells.genes;
  out.indices.resize(nonzeros);
  out.values.resize(nonzeros);
  std::size_t kept = 0, next = 0;
  for (std::size_t shard = 0; shard < draws.size(); ++shard) {
    Random& draw = draws[shard];
    std::size_t const first = next;
    std::uint32_t bits = 0;
    for (std::size_t row = shard * rows; row < (shard + 1) * rows; ++row) {
      for (auto const end = index(cells.indptr[row + 1]); next < end; ++next) {
        bits = (next - first) % 2 ? bits >> 16 : draw.bits();
        out.indices[kept] = cells.indices[next];  // overwritten by the next one where this is dropped
        out.values[kept] = cells.values[next] * factor;
        kept += (bits & 0xFFFF) < threshold;
      }
      out.indptr.push_back(static_cast<std::int64_t>(kept));
    }
  }
  out.indices.resize(kept);
  out.values.resize(kept);
  return out;
}

void require_sane(FoundationLoss const& loss) {
  for (auto const& [name, rate] :
       {std::pair("input_dropout", loss.input_dropout), std::pair("dropout", loss.dropout)}) {
    if (!(rate >= 0 && rate <= 0.99))
      fail(ExitCode::usage,
           "foundation.{} is {} (it is a share of values that are set to zero). Give a value from 0 to 0.99", name,
           rate);
  }
  if (!(loss.triplet_weight >= 0 && loss.triplet_weight <= 1))
    fail(ExitCode::usage,
         "foundation.triplet_weight is {} (the reconstruction's weight is 1 - this). Give a value from 0 to 1",
         loss.triplet_weight);
  if (!(loss.margin >= 0))
    fail(ExitCode::usage, "foundation.margin is {} (a distance). Give a value of 0 or more", loss.margin);
}

FoundationTraining::FoundationTraining(Foundation& model, FoundationLoss const& loss) : model_(model), loss_(loss) {}

std::int64_t FoundationTraining::statistics() const {
  std::int64_t length = losses_of_a_shard;
  for (auto const* layers : {&model_.encoder_layers, &model_.decoder_layers}) {
    for (auto const& layer : *layers) length += 2 * layer.width();
  }
  return length;
}

at::Tensor FoundationTraining::block_loss(ShardBatch const& block, std::uint64_t seed, std::int64_t step,
                                          at::Tensor const& statistics) {
  if (block.cells.rows() % block.shards)
    fail(ExitCode::failed, "the shards of a block have different numbers of cells");
  auto const shards = index(block.shards), cells = index(block.cells_of_a_shard());
  Pass pass{.rate = loss_.dropout,
            .seed = seed,
            .step = step,
            .first_shard = block.first,
            .shards = block.shards,
            .moments = std::vector<std::vector<at::Tensor>>(shards)};
  at::Tensor const latents = embed(model_, block.cells, loss_.input_dropout, pass);
  at::Tensor const errors = sparse_mse(reconstruct(model_, latents, pass), block.cells, pass.shards);  // [shards]
  auto const latents_of = latents.split(block.cells_of_a_shard());
  std::vector<at::Tensor> losses, left;
  for (std::size_t s = 0; s < shards; ++s) {
    Random const draw(seed, purpose::triplet, static_cast<std::uint64_t>(step),
                      static_cast<std::uint32_t>(block.first) + static_cast<std::uint32_t>(s));
    auto const labels = std::span(block.labels).subspan(s * cells, cells);
    auto const triplet = triplet_loss(latents_of[s], labels, loss_.mining, loss_.margin, draw);
    at::Tensor const error = errors[static_cast<std::int64_t>(s)];
    losses.push_back((1.0 - loss_.triplet_weight) * error + loss_.triplet_weight * triplet.loss);

    at::NoGradGuard no_grad;
    auto& parts = pass.moments[s];
    parts.insert(parts.begin(),
                 at::stack({losses.back(), error, triplet.loss, at::scalar_tensor(triplet.triplets, error.options())}));
    left.push_back(at::cat(parts));
  }
  {
    at::NoGradGuard no_grad;
    statistics.add_(tree_sum(left));
  }
  return tree_sum(losses);
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
