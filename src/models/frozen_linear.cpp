#include "retort/models/frozen_linear.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "packed_product.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// [in, out] -> [panels, in, panel_columns].
at::Tensor pack(at::Tensor const& weight) {
  std::int64_t const in = weight.size(0), out = weight.size(1), panels = (out + kernel::panel_columns - 1) / kernel::panel_columns;
  at::Tensor const packed = at::zeros({panels, in, kernel::panel_columns}, at::kFloat);
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    std::int64_t const begin = panel * kernel::panel_columns, count = std::min(kernel::panel_columns, out - begin);
    packed.select(0, panel).narrow(1, 0, count).copy_(weight.narrow(1, begin, count));
  }
  return packed;
}

at::Tensor multiply(at::Tensor const& input, at::Tensor const& packed, at::Tensor const& bias) {
  at::Tensor const rows = input.contiguous(), result = at::empty({input.size(0), bias.size(0)}, at::kFloat);
  kernel::multiply_packed(rows.const_data_ptr<float>(), rows.size(0), rows.size(1), packed.const_data_ptr<float>(), bias.const_data_ptr<float>(),
                          bias.size(0), result.data_ptr<float>());
  return result;
}

struct Product : torch::autograd::Function<Product> {
  static at::Tensor forward(AutogradContext* context, at::Tensor const& input, at::Tensor const& packed, at::Tensor const& bias,
                            at::Tensor const& packed_transpose, at::Tensor const& no_bias) {
    context->save_for_backward({packed_transpose, no_bias});
    return multiply(input, packed, bias);
  }
  static tensor_list backward(AutogradContext* context, tensor_list const& gradients) {
    auto const saved = context->get_saved_variables();
    return {multiply(gradients[0], saved[0], saved[1]), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

FrozenLinear::FrozenLinear(at::Tensor const& weight, at::Tensor const& bias) : bias_(bias.detach().contiguous()) {
  if (weight.scalar_type() != at::kFloat || weight.dim() != 2 || bias.dim() != 1 || bias.size(0) != weight.size(1))
    fail(ExitCode::failed, "a frozen layer needs a float32 weight [in, out] and a bias [out]");
  if (!weight.device().is_cpu()) {
    weight_ = weight.detach();
    return;
  }
  at::NoGradGuard no_graph;
  forward_ = pack(weight);
  backward_ = pack(weight.t());
  no_bias_ = at::zeros({weight.size(0)}, at::kFloat);
}

at::Tensor FrozenLinear::operator()(at::Tensor const& input) const {
  if (weight_.defined()) return at::addmm(bias_, input, weight_);
  if (input.dim() != 2 || input.size(1) != no_bias_.size(0))
    fail(ExitCode::failed, "a layer of {} inputs was given rows of {}", no_bias_.size(0), input.size(-1));
  return Product::apply(input, forward_, bias_, backward_, no_bias_);
}

}  // namespace retort
