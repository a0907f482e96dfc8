#include "retort/evaluate/celltypist.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "retort/evaluate/logistic_regression.hpp"
#include "retort/models/regression_loss.hpp"
#include "retort/run/index.hpp"
#include "retort/training/lbfgs.hpp"

namespace retort {
namespace {

constexpr float largest_value = 10;

}  // namespace

CellTypist train_celltypist(at::Tensor const& cells, at::Tensor const& labels, std::int64_t classes) {
  c10::InferenceMode const no_graph;
  CellTypist model{.genes = cells.size(1), .classes = classes, .weight = {}, .bias = {}, .mean = {}, .scale = {}};
  at::Tensor const x = cells.to(at::kDouble), mean = x.mean(0);
  at::Tensor const sd = (x - mean).square().mean(0).sqrt();
  at::Tensor const scale =
      at::where(sd > 0, 1 / sd, 1.0) * (x.sum(0) > 0);  // as sklearn: a gene that never changes is only centred
  at::Tensor const scaled = ((x - mean) * scale).clamp_max(static_cast<double>(largest_value));  // [n, genes]

  auto const [basis, axes] = span_of(scaled);
  at::Tensor const sign = at::full({cells.size(0), classes}, -1.0, at::kDouble).scatter_(1, labels.unsqueeze(1), 1.0);

  // sum of log(1 + exp(-sign f)) + |v|^2 / 2 over all classes, f = basis v + b: classes do not meet in it.
  std::int64_t const n = cells.size(0);
  auto const loss = [&](std::vector<double> const& at_x, std::vector<double>& gradient) {
    at::Tensor const v = at::from_blob(const_cast<double*>(at_x.data()), {n + 1, classes}, at::kDouble);
    at::Tensor const out = at::from_blob(gradient.data(), {n + 1, classes}, at::kDouble);
    at::Tensor const weight = v.narrow(0, 0, n), margin = sign * (at::mm(basis, weight) + v[n]);
    at::Tensor const slope = -sign * at::sigmoid(-margin);
    out.narrow(0, 0, n).copy_(at::mm(basis.t(), slope) + weight);
    out[n].copy_(slope.sum(0));
    return (-at::log_sigmoid(margin)).sum().item<double>() + 0.5 * weight.square().sum().item<double>();
  };
  Minimum const found = minimise(loss, std::vector<double>(index((n + 1) * classes)),
                                 {.most_iterations = 1000, .tolerance = 1e-4, .least_gain = 1e-12});
  at::Tensor const v = at::tensor(found.x, at::kDouble).view({n + 1, classes});
  model.weight = floats_of(at::mm(axes.t(), v.narrow(0, 0, n)));
  model.bias = floats_of(at::where((sign > 0).any(0), v[n], -std::numeric_limits<double>::infinity()));
  model.mean = floats_of(mean);
  model.scale = floats_of(scale);
  return model;
}

std::vector<std::int64_t> predict(CellTypist const& model, CsrBlock const& cells) {
  auto const classes = index(model.classes);
  // Of a gene that a cell does not have, every cell has the same value: those go into the bias, and what is sparse
  // stays sparse.
  std::vector<double> base(model.bias.begin(), model.bias.end());
  for (std::size_t g = 0; g < model.mean.size(); ++g)
    for (std::size_t c = 0; c < classes; ++c)
      base[c] -= static_cast<double>(model.weight[g * classes + c] * model.mean[g] * model.scale[g]);
  std::vector<float> const bias(base.begin(), base.end());
  CsrBlock moved = cells;
  for (std::size_t k = 0; k < moved.values.size(); ++k) {
    auto const g = index(moved.indices[k]);
    moved.values[k] =
        std::min((moved.values[k] - model.mean[g]) * model.scale[g], largest_value) + model.mean[g] * model.scale[g];
  }
  return predict_classes(moved, model.weight, bias);
}

}  // namespace retort
