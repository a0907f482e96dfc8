#include "retort/distill/gene_student.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace retort {
namespace {

// Solves J x = right, [n + 1, classes], class by class, so that memory is one class's: J is the Jacobian of
// a - y sigmoid(-y f) = 0 and sum a = 0 by (a, b), or its transpose.
at::Tensor solve(at::Tensor const& gram, at::Tensor const& slope, at::Tensor const& right, bool transposed) {
  std::int64_t const n = gram.size(0);
  at::Tensor solved = at::empty_like(right);
  at::Tensor jacobian = at::zeros({n + 1, n + 1}, gram.options());
  for (std::int64_t c = 0; c < slope.size(1); ++c) {
    at::Tensor const d = slope.select(1, c);
    jacobian.narrow(0, 0, n).narrow(1, 0, n).copy_(d.unsqueeze(1) * gram).diagonal().add_(1);
    jacobian.narrow(0, 0, n).select(1, n).copy_(d);
    jacobian[n].narrow(0, 0, n).fill_(1);
    solved.select(1, c).copy_(at::linalg_solve(transposed ? jacobian.t() : jacobian, right.select(1, c)));
  }
  return solved;
}

}  // namespace

GeneStudent::GeneStudent(at::Tensor const& cells, at::Tensor const& labels, std::int64_t classes) {
  at::NoGradGuard const no_graph;
  at::Tensor const x = cells.to(at::kDouble);
  std::int64_t const n = x.size(0);
  mean_ = x.mean(0);
  centred_ = x - mean_;
  at::Tensor const sd = centred_.square().mean(0).sqrt();
  scale_ = at::where(sd > least_sd, 1 / sd, 0.0);
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
    double const largest = residual.abs().max().item<double>();
    if (!(largest >= 1e-10)) break;  // there, or not a number
    at::Tensor const step = solve(gram_, slope_, residual, false);
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
  at::Tensor const u = solve(gram_, slope_, right, true).narrow(0, 0, n);
  at::Tensor const by_gram = -at::mm(slope_ * u, dual_.t());
  by_scaled.add_(at::mm(by_gram + by_gram.t(), scaled_));
  // scaled = (cells - mean) * scale, scale = 1 / sd
  by_scale.add_((by_scaled * centred_).sum(0));
  by_mean.sub_((by_scaled * scale_).sum(0));
  return by_scaled * scale_ + (by_mean / static_cast<double>(n)) -
         centred_ * (by_scale * scale_.pow(3) / static_cast<double>(n));
}

}  // namespace retort
