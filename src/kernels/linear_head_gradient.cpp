#include "retort/kernels/linear_head_gradient.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "retort/run/error.hpp"

namespace retort {
namespace {

// p and d = p - onehot of the head, both [k, n, classes].
struct Residuals {
  at::Tensor probabilities, difference;
};

Residuals residuals(at::Tensor const& features, std::int64_t first_class, std::int64_t k, at::Tensor const& weight,
                    at::Tensor const& bias) {
  std::int64_t const n = features.size(0) / k, classes = weight.size(0);
  at::Tensor const probabilities = at::softmax(at::addmm(bias, features, weight.t()), 1).view({k, n, classes});
  at::Tensor difference = probabilities.clone();
  for (std::int64_t c = 0; c < k; ++c) difference.select(0, c).select(1, first_class + c).sub_(1);
  return {probabilities, difference};
}

at::Tensor gradients(at::Tensor const& difference, at::Tensor const& features) {  // [k, n, classes], [k, n, width]
  double const share = 1 / static_cast<double>(features.size(1));
  at::Tensor const of_weight = at::bmm(difference.transpose(1, 2), features);  // [k, classes, width]
  at::Tensor const of_bias = difference.sum(1).unsqueeze(2);                   // [k, classes, 1]
  return at::cat({of_weight, of_bias}, 2).mul_(share);
}

}  // namespace

GradientMetric gradient_metric(std::string const& text, std::string const& setting) {
  if (text == "rows") return GradientMetric::rows;
  if (text == "flat") return GradientMetric::flat;
  fail(ExitCode::usage, "{} is '{}' (it is rows or flat)", setting, text);
}

at::Tensor class_gradients(at::Tensor const& features, std::int64_t first_class, std::int64_t k,
                           at::Tensor const& weight, at::Tensor const& bias) {
  at::NoGradGuard no_grad;
  at::Tensor const by_class = features.view({k, features.size(0) / k, features.size(1)});
  return gradients(residuals(features, first_class, k, weight, bias).difference, by_class);
}

FeatureMatch match_class_gradients(at::Tensor const& features, std::int64_t first_class, at::Tensor const& weight,
                                   at::Tensor const& bias, at::Tensor const& real, GradientMetric metric) {
  at::NoGradGuard no_grad;
  std::int64_t const k = real.size(0), n = features.size(0) / k, width = features.size(1), classes = weight.size(0);
  at::Tensor const by_class = features.view({k, n, width});
  auto const [p, d] = residuals(features, first_class, k, weight, bias);
  at::Tensor const own = gradients(d, by_class);  // [k, classes, width + 1]

  // The compared vectors as rows: u of ours, r of the real cells.
  bool const rows = metric == GradientMetric::rows;
  at::Tensor const u = rows ? own.narrow(2, 0, width) : own.reshape({k, 1, classes * (width + 1)});
  at::Tensor const r = rows ? real.narrow(2, 0, width) : real.reshape({k, 1, classes * (width + 1)});
  at::Tensor const u_norm = u.square().sum(2, true).sqrt_(), r_norm = r.square().sum(2, true).sqrt_();  // [k, rows, 1]
  at::Tensor const product = (u * r).sum(2, true);
  at::Tensor const q = u_norm * r_norm + cosine_guard;
  at::Tensor const losses = (1 - product / q).sum({1, 2});  // [k]

  // dL/du = -(r / q - (u.r) / q^2 |r| u / |u|); where |u| is 0 the second part is 0 too.
  at::Tensor const along = at::where(u_norm > 0, product * r_norm / (q * q * u_norm), at::zeros_like(u_norm));
  at::Tensor slope = u * along - r / q;  // [k, rows, length]
  if (!rows) slope = slope.view({k, classes, width + 1});
  at::Tensor const by_weight = slope.narrow(2, 0, width);  // A, [k, classes, width]

  // dL/df = (1/n) [W^T J (A f + a) + A^T d] with J = diag(p) - p p^T.
  at::Tensor pushed = at::bmm(by_class, by_weight.transpose(1, 2));  // [k, n, classes]
  if (!rows) pushed += slope.select(2, width).unsqueeze(1);
  at::Tensor const through_softmax = p * (pushed - (p * pushed).sum(2, true));
  at::Tensor gradient = at::mm(through_softmax.view({k * n, classes}), weight);
  gradient.view({k, n, width}).baddbmm_(d, by_weight);
  return {losses, gradient.mul_(1 / static_cast<double>(n))};
}

}  // namespace retort
