#include "retort/kernels/rescale.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

namespace retort {
namespace {

constexpr double target_sum = 1e4;
constexpr float largest = 30;  // expm1 and its products stay finite in float32; a cell's true largest value is 9.2

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// With e = expm1(s), k = 1e4 / sum(e), y = log1p(k e) and g = dL/dy:
//   dL/ds = (e + 1) (k g / (1 + k e) - sum(g k e / (1 + k e)) / sum(e))
struct Rescale : torch::autograd::Function<Rescale> {
  static at::Tensor forward(AutogradContext* context, at::Tensor const& x, double at_zero) {
    at::Tensor const e = x.clamp(0, largest).expm1_();
    at::Tensor const sum = e.sum(1, true).clamp_min_(1e-20);
    context->save_for_backward({x, e, sum});
    context->saved_data["at_zero"] = at_zero;
    return (e * (target_sum / sum)).log1p_();
  }
  static tensor_list backward(AutogradContext* context, tensor_list const& gradients) {
    auto const saved = context->get_saved_variables();
    at::Tensor const &x = saved[0], &e = saved[1], &sum = saved[2];
    at::Tensor const k = target_sum / sum;
    at::Tensor const scaled = gradients[0] * k / (e * k + 1);
    at::Tensor const common = (scaled * e).sum(1, true).div_(sum);
    at::Tensor const open = context->saved_data["at_zero"].toDouble() > 0 ? x.ge(0) : x.gt(0);
    return {(scaled - common).mul_(e + 1).mul_(open.logical_and_(x.lt(largest))), at::Tensor()};
  }
};

}  // namespace

at::Tensor rescale_to_cell(at::Tensor const& x, double at_zero) { return Rescale::apply(x, at_zero); }

}  // namespace retort
