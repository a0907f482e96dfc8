#include "retort/kernels/accumulating_linear.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace retort {
namespace {

constexpr std::int64_t floats_of_a_piece = 1 << 18;  // 1 MB: the second-level cache

struct AccumulatingLinear : torch::autograd::Function<AccumulatingLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::Tensor const& input, at::Tensor const& weight,
                            std::optional<at::Tensor> const& bias, at::Tensor const& weight_gradient) {
    context->save_for_backward({input, weight});
    context->saved_data["into"] = weight_gradient;
    context->saved_data["has_bias"] = bias.has_value();
    return bias ? at::addmm(*bias, input, weight.t()) : at::mm(input, weight.t());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list upstream) {
    auto const saved = context->get_saved_variables();
    at::Tensor const &input = saved[0], &weight = saved[1];
    at::Tensor const into = context->saved_data["into"].toTensor();
    at::Tensor const by_output = upstream[0].t();  // [out, n]
    auto const out = weight.size(0), piece = std::max<std::int64_t>(1, floats_of_a_piece / weight.size(1));
    at::Tensor const product = at::empty({std::min(out, piece), weight.size(1)}, weight.options());
    for (std::int64_t begin = 0; begin < out; begin += piece) {
      auto const rows = std::min(piece, out - begin);
      at::Tensor part = product.narrow(0, 0, rows);
      at::mm_out(part, by_output.narrow(0, begin, rows), input);
      into.narrow(0, begin, rows).add_(part);
    }
    at::Tensor const input_gradient = context->needs_input_grad(0) ? at::mm(upstream[0], weight) : at::Tensor();
    return {input_gradient, at::Tensor(), context->saved_data["has_bias"].toBool() ? upstream[0].sum(0) : at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor accumulating_linear(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias, at::Tensor const& weight_gradient) {
  if (!weight_gradient.defined() || !weight.device().is_cpu()) return at::linear(input, weight, bias);
  return AccumulatingLinear::apply(input, weight, bias.defined() ? std::optional(bias) : std::nullopt, weight_gradient);
}

}  // namespace retort
