#include "retort/evaluate/logistic_regression.hpp"

#include <ATen/ATen.h>

#include <limits>

#include "retort/run/index.hpp"
#include "retort/training/lbfgs.hpp"

namespace retort {
CellSpan span_of(at::Tensor const& x) {
  auto const [eigenvalues, vectors] = at::linalg_eigh(at::mm(x, x.t()));
  at::Tensor const length = eigenvalues.clamp_min(0).sqrt();
  at::Tensor const inverse = at::where(length > length.max() * 1e-7, 1 / length, 0.0);
  return {vectors * length, at::mm((vectors * inverse).t(), x)};
}

std::vector<float> floats_of(at::Tensor const& tensor) {
  at::Tensor const flat = tensor.to(at::kFloat).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

LogisticRegression train_logistic_regression(at::Tensor const& cells, at::Tensor const& labels, std::int64_t classes) {
  c10::InferenceMode const no_graph;
  auto const n = cells.size(0);
  auto const [basis, axes] = span_of(cells.to(at::kDouble));
  at::Tensor const target = at::zeros({n, classes}, at::kDouble).scatter_(1, labels.unsqueeze(1), 1.0);
  at::Tensor const is_there = (target > 0).any(0);
  at::Tensor const absent = at::where(is_there, 0.0, -1e30);  // classes without cells take no part in the softmax

  // The sum of cross-entropies + |v|^2 / 2.
  auto const loss = [&](std::vector<double> const& at_x, std::vector<double>& gradient) {
    at::Tensor const v = at::from_blob(const_cast<double*>(at_x.data()), {n + 1, classes}, at::kDouble);
    at::Tensor const out = at::from_blob(gradient.data(), {n + 1, classes}, at::kDouble);
    at::Tensor const weight = v.narrow(0, 0, n), log_shares = at::log_softmax(at::mm(basis, weight) + v[n] + absent, 1);
    at::Tensor const slope = log_shares.exp() - target;
    out.narrow(0, 0, n).copy_(at::mm(basis.t(), slope) + weight);
    out[n].copy_(slope.sum(0));
    return -at::where(target > 0, log_shares, 0.0).sum().item<double>() + 0.5 * weight.square().sum().item<double>();
  };
  Minimum const found = minimise(loss, std::vector<double>(index((n + 1) * classes)),
                                 {.most_iterations = 1000, .tolerance = 1e-4, .least_gain = 1e-12});
  at::Tensor const v = at::tensor(found.x, at::kDouble).view({n + 1, classes});
  return {floats_of(at::mm(axes.t(), v.narrow(0, 0, n))),
          floats_of(at::where(is_there, v[n], -std::numeric_limits<double>::infinity()))};
}

}  // namespace retort
