#include "retort/distill/layer_gradients.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

namespace retort {
namespace {

constexpr double smallest_square = 1e-60;  // a norm below its root is taken for zero, and has no derivative

// Distance of vectors with product [...], squared norm of ours and norm of the real one.
at::Tensor distance(at::Tensor const& product, at::Tensor const& own_square, at::Tensor const& real_norm) {
  return 1 - product / (own_square.clamp_min(smallest_square).sqrt() * real_norm + cosine_guard);
}

}  // namespace

std::int64_t gradient_length(std::int64_t classes, std::int64_t width, std::vector<std::int64_t> const& hidden) {
  std::int64_t length = 0;
  for (std::int64_t const out : hidden) {
    length += out * (width + 1);
    width = out;
  }
  return length + classes * (width + 1);
}

std::vector<at::Tensor> layer_gradients(at::Tensor const& flat, Head const& head) {
  std::vector<at::Tensor> views;
  std::int64_t begin = 0;
  for (auto const& layer : layers_of(head)) {
    std::int64_t const out = layer.weight.size(0), columns = layer.weight.size(1) + 1;
    views.push_back(flat.narrow(1, begin, out * columns).view({flat.size(0), out, columns}));
    begin += out * columns;
  }
  return views;
}

at::Tensor gradient_distance(LayerPass const& pass, std::vector<at::Tensor> const& real, std::int64_t k,
                             GradientMetric metric) {
  bool const rows = metric == GradientMetric::rows;
  at::Tensor losses = at::zeros({k}, at::kDouble), product = losses, own_square = losses, real_square = losses;
  for (std::size_t i = 0; i < real.size(); ++i) {
    std::int64_t const n = pass.inputs[i].size(0) / k, in = pass.inputs[i].size(1);
    at::Tensor const x = pass.inputs[i].view({k, n, in}), d = pass.deltas[i].view({k, n, -1});
    at::Tensor const weight = real[i].narrow(2, 0, in);  // [k, out, in]
    // u_j = sum_i d_ij x_i / n is row j of ours: u_j . r_j = sum_i d_ij (x_i . r_j) / n and |u_j|^2 = d_j^T (x x^T) d_j
    // / n^2; in double, because terms of large norm may cancel.
    at::Tensor const x2 = x.to(at::kDouble), d2 = d.to(at::kDouble) / static_cast<double>(n);
    at::Tensor across = (d2 * at::bmm(x, weight.transpose(1, 2))).sum(1);            // [k, out]
    at::Tensor square = (d2 * at::bmm(at::bmm(x2, x2.transpose(1, 2)), d2)).sum(1);  // [k, out]
    at::Tensor const norm = at::norm(weight, 2, {2}).to(at::kDouble);                // [k, out]
    if (rows) {
      losses = losses + distance(across, square, norm).sum(1);
      continue;
    }
    at::Tensor const of_bias = d2.sum(1), real_bias = real[i].select(2, in).to(at::kDouble);
    product = product + (across + of_bias * real_bias).sum(1);
    own_square = own_square + (square + of_bias.square()).sum(1);
    real_square = real_square + (norm.square() + real_bias.square()).sum(1);
  }
  return rows ? losses : distance(product, own_square, real_square.sqrt());
}

FeatureMatch match_head_gradients(at::Tensor const& features, std::int64_t first_class, Head const& head,
                                  at::Tensor const& real, GradientMetric metric) {
  if (!head.hidden.empty()) return match_layer_gradients(features, first_class, head, real, metric);
  return match_class_gradients(features, first_class, head.weight, head.bias,
                               real.view({real.size(0), head.weight.size(0), -1}), metric);
}

FeatureMatch match_layer_gradients(at::Tensor const& features, std::int64_t first_class, Head const& head,
                                   at::Tensor const& real, GradientMetric metric) {
  at::AutoGradMode const with_graph(true);
  std::int64_t const k = real.size(0), n = features.size(0) / k;
  at::Tensor const leaf = features.detach().clone().requires_grad_(true),
                   labels = at::arange(first_class, first_class + k, at::kLong).repeat_interleave(n);
  at::Tensor const losses = gradient_distance(pass_through(head, leaf, labels), layer_gradients(real, head), k, metric);
  return {losses.detach().to(features.scalar_type()), torch::autograd::grad({losses.sum()}, {leaf})[0]};
}

}  // namespace retort
