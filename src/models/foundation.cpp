#include "retort/models/foundation.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <optional>

#include "retort/kernels/frozen_linear.hpp"
#include "retort/kernels/sparse_linear.hpp"
#include "retort/run/error.hpp"
#include "retort/run/hash.hpp"
#include "retort/run/huge_pages.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

constexpr float first_slope = 0.25f;     // PReLU's in PyTorch
constexpr double smallest_norm = 1e-12;  // of F.normalize

// U(-1/sqrt(in), 1/sqrt(in)); tensor `index` of the model has draws of its own.
at::Tensor drawn(at::IntArrayRef shape, std::int64_t in, std::uint64_t seed, std::uint64_t index) {
  at::Tensor const values = at::empty(shape, at::kFloat);
  auto const bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(in)));
  Random random(seed, purpose::weights, index);
  float* const out = values.data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    float const unit = static_cast<float>(random.bits() >> 8) * 0x1.0p-24f;  // [0, 1)
    out[i] = bound * (2.0f * unit - 1.0f);
  }
  return values;
}

HiddenLayer new_layer(std::int64_t in, std::int64_t out, bool by_gene, std::uint64_t seed, std::uint64_t& index) {
  HiddenLayer layer;
  layer.weight = by_gene ? drawn({in, out}, in, seed, index++) : drawn({out, in}, in, seed, index++);
  layer.bias = drawn({out}, in, seed, index++);
  layer.scale = at::ones({out});
  layer.shift = at::zeros({out});
  layer.slope = at::full({1}, first_slope);
  layer.running_mean = at::zeros({out});
  layer.running_variance = at::ones({out});
  return layer;
}

struct FoldedLayer {
  at::Tensor weight, bias, slope;
};

// BatchNorm at inference is an affine map of the Linear's output, so it goes into weight and bias.
FoldedLayer fold(HiddenLayer const& layer, bool by_gene) {
  auto const factor =
      layer.scale.to(at::kDouble) / (layer.running_variance.to(at::kDouble) + batch_norm_epsilon).sqrt();  // [out]
  at::Tensor weight;
  if (layer.weight.device().is_cpu()) {
    auto const memory = large_array(layer.weight.nbytes());
    weight = at::from_blob(
        memory.get(), layer.weight.sizes(), [memory](void*) {}, layer.weight.options());
  } else {
    weight = at::empty_like(layer.weight);
  }
  at::mul_out(weight, layer.weight, (by_gene ? factor.unsqueeze(0) : factor.unsqueeze(1)).to(at::kFloat));
  auto const bias =
      (layer.bias.to(at::kDouble) - layer.running_mean.to(at::kDouble)) * factor + layer.shift.to(at::kDouble);
  return {weight, bias.to(at::kFloat).detach().contiguous(), layer.slope.detach()};
}

at::Tensor unit_rows(at::Tensor const& rows) { return rows / rows.norm(2, {1}, true).clamp_min(smallest_norm); }

}  // namespace

struct Foundation::Folded {
  std::vector<FoldedLayer> encoder, decoder;

  // What follows the first layer's product.
  at::Tensor finish(at::Tensor first, at::Tensor const& weight, at::Tensor const& bias) const {
    at::Tensor hidden = at::prelu(first, encoder[0].slope);
    for (std::size_t i = 1; i < encoder.size(); ++i)
      hidden = at::prelu(at::linear(hidden, encoder[i].weight, encoder[i].bias), encoder[i].slope);
    return unit_rows(at::linear(hidden, weight, bias));
  }

  // In bfloat16, made when first asked for.
  struct Half {
    HalfWeight first;
    std::vector<at::Tensor> weights, biases;
  };
  std::optional<Half> half;
  at::Tensor finish_half(at::Tensor const& first) const {
    at::Tensor hidden = at::prelu(first, encoder[0].slope).to(at::kBFloat16);
    for (std::size_t i = 0; i < half->weights.size(); ++i) {
      hidden = at::linear(hidden, half->weights[i], half->biases[i]);
      if (i + 1 < encoder.size()) hidden = at::prelu(hidden, encoder[i + 1].slope.to(at::kBFloat16));
    }
    return unit_rows(hidden.to(at::kFloat));
  }

  // The same layers for dense rows, packed when they are first asked for; the last of each has no PReLU.
  std::vector<FrozenLinear> dense_encoder, dense_decoder;
};

namespace {

at::Tensor through(std::vector<FrozenLinear> const& dense, std::vector<FoldedLayer> const& layers, at::Tensor rows) {
  for (std::size_t i = 0; i < layers.size(); ++i) rows = at::prelu(dense[i](rows), layers[i].slope);
  return dense.back()(rows);
}

}  // namespace

Foundation::Foundation(FoundationShape shape, std::uint64_t seed) : shape_(std::move(shape)) {
  bool positive = shape_.genes > 0 && shape_.latent > 0 && !shape_.hidden.empty();
  for (auto const width : shape_.hidden) positive = positive && width > 0;
  if (!positive)
    fail(ExitCode::usage, "foundation.hidden and foundation.latent must be positive (a layer would be empty)");
  std::uint64_t index = 0;
  std::int64_t in = shape_.genes;
  for (auto const width : shape_.hidden) {
    encoder_layers.push_back(new_layer(in, width, encoder_layers.empty(), seed, index));
    in = width;
  }
  encoder_weight = drawn({shape_.latent, in}, in, seed, index++);
  encoder_bias = drawn({shape_.latent}, in, seed, index++);
  in = shape_.latent;
  for (auto width = shape_.hidden.rbegin(); width != shape_.hidden.rend(); ++width) {
    decoder_layers.push_back(new_layer(in, *width, false, seed, index));
    in = *width;
  }
  decoder_weight = drawn({shape_.genes, in}, in, seed, index++);
  decoder_bias = drawn({shape_.genes}, in, seed, index++);
  for (auto const& parameter : parameters()) parameter.requires_grad_(true);
}

std::vector<at::Tensor> Foundation::parameters() const {
  std::vector<at::Tensor> list;
  auto const add = [&](std::vector<HiddenLayer> const& layers) {
    for (auto const& layer : layers)
      list.insert(list.end(), {layer.weight, layer.bias, layer.scale, layer.shift, layer.slope});
  };
  add(encoder_layers);
  list.insert(list.end(), {encoder_weight, encoder_bias});
  add(decoder_layers);
  list.insert(list.end(), {decoder_weight, decoder_bias});
  return list;
}

std::vector<at::Tensor*> Foundation::tensors() {
  std::vector<at::Tensor*> list{&encoder_weight, &encoder_bias, &decoder_weight, &decoder_bias};
  for (auto* layers : {&encoder_layers, &decoder_layers}) {
    for (auto& layer : *layers) {
      list.insert(list.end(), {&layer.weight, &layer.bias, &layer.scale, &layer.shift, &layer.slope,
                               &layer.running_mean, &layer.running_variance});
    }
  }
  return list;
}

void Foundation::to(at::Device device) {
  for (at::Tensor* tensor : tensors()) *tensor = tensor->detach().to(device).requires_grad_(tensor->requires_grad());
  folded_.reset();
}

void Foundation::freeze(Precision precision) {
  at::NoGradGuard no_grad;
  if (!folded_) {
    for (auto const& parameter : parameters()) parameter.requires_grad_(false);
    folded_ = std::make_shared<Folded>();
    for (std::size_t i = 0; i < encoder_layers.size(); ++i) folded_->encoder.push_back(fold(encoder_layers[i], i == 0));
    for (auto const& layer : decoder_layers) folded_->decoder.push_back(fold(layer, false));
  }
  if (precision == Precision::float32 || folded_->half || !encoder_bias.device().is_cpu()) return;
  auto& half = folded_->half.emplace(Folded::Half{HalfWeight(folded_->encoder[0].weight), {}, {}});
  auto const add = [&](at::Tensor const& weight, at::Tensor const& bias) {
    half.weights.push_back(weight.to(at::kBFloat16));
    half.biases.push_back(bias.to(at::kBFloat16));
  };
  for (std::size_t i = 1; i < folded_->encoder.size(); ++i) add(folded_->encoder[i].weight, folded_->encoder[i].bias);
  add(encoder_weight, encoder_bias);
}

std::string Foundation::weights_hash() const {
  std::uint64_t hash = 0;
  auto const add = [&](at::Tensor const& tensor) {
    at::Tensor const host = tensor.detach().cpu().contiguous();
    hash = hash_bytes(host.const_data_ptr(), host.nbytes(), hash);
  };
  for (auto const& parameter : parameters()) add(parameter);
  for (auto const* layers : {&encoder_layers, &decoder_layers}) {
    for (auto const& layer : *layers) {
      add(layer.running_mean);
      add(layer.running_variance);
    }
  }
  return fmt::format("{:016x}", hash);
}

at::Tensor Foundation::encode(CsrBlock const& cells, Precision precision) {
  freeze(precision);
  if (cells.genes != shape_.genes)
    fail(ExitCode::failed, "an encoder of {} genes was given cells of {} genes", shape_.genes, cells.genes);
  at::NoGradGuard no_grad;
  auto const& first = folded_->encoder[0];
  if (!first.weight.device().is_cpu())
    return folded_->finish(sparse_linear(cells, first.weight, first.bias), encoder_weight, encoder_bias);
  bool const halved = precision == Precision::bfloat16;
  at::Tensor const features = at::empty({cells.rows(), shape_.latent}, at::kFloat);
  for (std::int64_t begin = 0; begin < cells.rows(); begin += rows_of_an_inference_block) {
    auto const end = std::min(cells.rows(), begin + rows_of_an_inference_block);
    at::Tensor const hidden = at::empty({end - begin, encoder_layers[0].width()}, at::kFloat);
    float const* const bias = first.bias.const_data_ptr<float>();
    if (halved)
      folded_->half->first.product(cells, {begin, end}, bias, hidden.data_ptr<float>());
    else
      sparse_product(cells, {begin, end}, first.weight.const_data_ptr<float>(), bias, hidden.size(1),
                     hidden.data_ptr<float>());
    features.slice(0, begin, end)
        .copy_(halved ? folded_->finish_half(hidden) : folded_->finish(hidden, encoder_weight, encoder_bias));
  }
  return features;
}

at::Tensor Foundation::encode(at::Tensor const& cells) {
  freeze();
  if (folded_->dense_encoder.empty()) {
    for (std::size_t i = 0; i < folded_->encoder.size(); ++i) {
      auto const& layer = folded_->encoder[i];
      folded_->dense_encoder.emplace_back(i ? layer.weight.t() : layer.weight, layer.bias);
    }
    folded_->dense_encoder.emplace_back(encoder_weight.t(), encoder_bias);
  }
  return unit_rows(through(folded_->dense_encoder, folded_->encoder, cells));
}

at::Tensor Foundation::decode(at::Tensor const& latents) {
  freeze();
  if (folded_->dense_decoder.empty()) {
    for (auto const& layer : folded_->decoder) folded_->dense_decoder.emplace_back(layer.weight.t(), layer.bias);
    folded_->dense_decoder.emplace_back(decoder_weight.t(), decoder_bias);
  }
  return through(folded_->dense_decoder, folded_->decoder, latents);
}

}  // namespace retort
