#include "retort/distill/unrolled_head.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "retort/run/index.hpp"

namespace retort {

UnrolledHead::UnrolledHead(at::Tensor rows, at::Tensor const& labels, at::Tensor const& start,
                           HeadTraining const& training)
    : rows_(std::move(rows)), weight_(start.to(rows_.scalar_type(), false, true)), training_(training) {
  at::NoGradGuard const no_graph;
  targets_ = at::zeros({rows_.size(0), start.size(0)}, rows_.options()).scatter_(1, labels.unsqueeze(1), 1);
  at::Tensor velocity = at::zeros_like(weight_);
  double const share = 1.0 / static_cast<double>(rows_.size(0));
  for (std::int64_t step = 0; step < training_.steps; ++step) {
    at::Tensor const p = at::softmax(at::mm(rows_, weight_.t()), 1);
    weights_.push_back(weight_.clone());
    probabilities_.push_back(p);
    velocity.mul_(training_.momentum).addmm_((p - targets_).t(), rows_, 1, share).add_(weight_, training_.weight_decay);
    weight_.sub_(velocity, training_.rate);
  }
}

at::Tensor UnrolledHead::back(at::Tensor const& upstream) const {
  at::NoGradGuard const no_graph;
  double const share = 1.0 / static_cast<double>(rows_.size(0));
  at::Tensor by_rows = at::zeros_like(rows_), by_weight = upstream.to(rows_.scalar_type(), false, true),
             by_velocity = at::zeros_like(weight_);
  for (std::int64_t step = training_.steps - 1; step >= 0; --step) {
    at::Tensor const& weight = weights_[index(step)];
    at::Tensor const& p = probabilities_[index(step)];
    by_velocity.sub_(by_weight, training_.rate);  // weight -= rate * velocity
    // velocity = momentum * velocity + gradient + weight_decay * weight; the gradient's derivative is by_velocity
    // itself
    at::Tensor const score = at::mm(rows_, by_velocity.t());         // A x_i
    at::Tensor const bent = p * (score - (p * score).sum(1, true));  // J_i A x_i
    by_rows.addmm_(bent, weight, 1, share).addmm_(p - targets_, by_velocity, 1, share);
    by_weight.addmm_(bent.t(), rows_, 1, share).add_(by_velocity, training_.weight_decay);
    by_velocity.mul_(training_.momentum);
  }
  return by_rows;
}

}  // namespace retort
