// The training of a linear head as a function of the cells it learns from, and its derivative in closed form.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace retort {

// SGD with momentum on the mean cross-entropy of all rows at once, as torch.optim.SGD does it.
struct HeadTraining {
  std::int64_t steps = 150;
  double rate = 0.03;
  double momentum = 0.9;
  double weight_decay = 5e-4;
};

// Trains a head on rows [n, width + 1] whose last column is ones (its weight is the bias), float or double, and
// remembers what the way back needs: n x classes probabilities and the weights of every step.
class UnrolledHead {
 public:
  // `start` [classes, width + 1]; labels int64 [n]. The rows are kept, not copied.
  UnrolledHead(at::Tensor rows, at::Tensor const& labels, at::Tensor const& start, HeadTraining const& training);

  // [classes, width + 1]: the weights after the last step.
  at::Tensor const& weight() const { return weight_; }
  // The derivative by the rows, [n, width + 1], of a loss whose derivative by weight() is `upstream` [classes, width +
  // 1]: back through every step, without a graph. With p_i the probabilities of row x_i under the weights W of a step,
  // d_i = p_i - onehot, J_i = diag(p_i) - p_i p_i^T, and A the derivative by that step's gradient:
  //   by x_i: (W^T J_i A x_i + A^T d_i) / n        by W: sum_i (J_i A x_i) x_i^T / n + weight_decay A
  at::Tensor back(at::Tensor const& upstream) const;

 private:
  at::Tensor rows_, targets_, weight_;
  HeadTraining training_;
  std::vector<at::Tensor> weights_, probabilities_;  // before each step
};

}  // namespace retort
