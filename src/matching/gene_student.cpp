#include "retort/matching/gene_student.hpp"

#include <ATen/ATen.h>

namespace retort {
namespace {

// [classes, n + 1, n + 1]: of a - y sigmoid(-y f) = 0 and sum a = 0, by (a, b), class by class.
at::Tensor jacobian(at::Tensor const& gram, at::Tensor const& slope) {
  std::int64_t const n = gram.size(0), classes = slope.size(1);
  at::Tensor const d = slope.t().unsqueeze(2);  // [classes, n, 1]
  at::Tensor whole = at::zeros({classes, n + 1, n + 1}, gram.options());
  whole.narrow(1, 0, n).narrow(2, 0, n).copy_(at::eye(n, gram.options()) + d * gram);
  whole.narrow(1, 0, n).select(2, n).copy_(slope.t());
  whole.select(1, n).narrow(1, 0, n).fill_(1);
  return whole;
}

}  // namespace

GeneStudent::GeneStudent(at::Tensor const& cells, at::Tensor const& labels, std::int64_t classes) {
  at::NoGradGuard const no_graph;
  at::Tensor const x = cells.to(at::kDouble);
  std::int64_t const n = x.size(0);
  mean_ = x.mean(0);
  centred_ = x - mean_;
  at::Tensor const sd = centred_.square().mean(0).sqrt();
  scale_ = at::where(sd > 1e-6, 1 / sd, 0.0);
  scaled_ = centred_ * scale_;
  gram_ = at::mm(scaled_, scaled_.t());

  at::Tensor const sign = at::full({n, classes}, -1.0, at::kDouble).scatter_(1, labels.unsqueeze(1), 1.0);
  dual_ = at::zeros({n, classes}, at::kDouble);
  offset_ = at::zeros({classes}, at::kDouble);
  auto const value = [&](at::Tensor const& a, at::Tensor const& b) {  // [classes]
    at::Tensor const pulled = at::mm(gram_, a);
    return -at::log_sigmoid(sign * (pulled + b)).sum(0) + 0.5 * (a * pulled).sum(0);
  };
  at::Tensor now = value(dual_, offset_);
  for (int iteration = 0; iteration < 50; ++iteration) {
    at::Tensor const p = at::sigmoid(-sign * (at::mm(gram_, dual_) + offset_));
    slope_ = p * (1 - p);
    at::Tensor const residual = at::cat({dual_ - sign * p, dual_.sum(0, true)});  // [n + 1, classes]
    if (residual.abs().max().item<double>() < 1e-10) break;
    at::Tensor const step = at::linalg_solve(jacobian(gram_, slope_), residual.t().unsqueeze(2)).squeeze(2).t();
    // Halve a class's step until its value does not rise.
    at::Tensor length = at::ones({classes}, at::kDouble);
    for (int halving = 0; halving < 30; ++halving) {
      at::Tensor const next = value(dual_ - step.narrow(0, 0, n) * length, offset_ - step[n] * length);
      at::Tensor const rises = next > now + 1e-12 * now.abs();
      if (!rises.any().item<bool>()) break;
      length = at::where(rises, length / 2, length);
    }
    dual_ = dual_ - step.narrow(0, 0, n) * length;
    offset_ = offset_ - step[n] * length;
    now = value(dual_, offset_);
  }
  plain_ = at::mm(scaled_.t(), dual_);
  weight_ = plain_ * scale_.unsqueeze(1);
  bias_ = offset_ - at::mv(weight_.t(), mean_);
}

at::Tensor GeneStudent::back(at::Tensor const& by_weight, at::Tensor const& by_bias) const {
  at::NoGradGuard const no_graph;
  std::int64_t const n = scaled_.size(0);
  at::Tensor const upstream_bias = by_bias.to(at::kDouble);
  // bias = b - mean . weight, weight = scale * plain, plain = scaled^T a
  at::Tensor const upstream = by_weight.to(at::kDouble) - mean_.unsqueeze(1) * upstream_bias;
  at::Tensor by_mean = -at::mv(weight_, upstream_bias), by_scale = (plain_ * upstream).sum(1);
  at::Tensor const by_plain = upstream * scale_.unsqueeze(1);
  at::Tensor by_scaled = at::mm(dual_, by_plain.t());
  // the optimum
  at::Tensor const right = at::cat({at::mm(scaled_, by_plain), upstream_bias.unsqueeze(0)});  // [n + 1, classes]
  at::Tensor const u = at::linalg_solve(jacobian(gram_, slope_).transpose(1, 2), right.t().unsqueeze(2)).squeeze(2).t().narrow(0, 0, n);
  at::Tensor const by_gram = -at::mm(slope_ * u, dual_.t());
  by_scaled.add_(at::mm(by_gram + by_gram.t(), scaled_));
  // scaled = (cells - mean) * scale, scale = 1 / sd
  by_scale.add_((by_scaled * centred_).sum(0));
  by_mean.sub_((by_scaled * scale_).sum(0));
  return by_scaled * scale_ + (by_mean / static_cast<double>(n)) - centred_ * (by_scale * scale_.pow(3) / static_cast<double>(n));
}

}  // namespace retort
