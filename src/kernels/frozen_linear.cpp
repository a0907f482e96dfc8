#include "retort/kernels/frozen_linear.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "retort/kernels/packed_product.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct Product : torch::autograd::Function<Product> {
  static at::Tensor forward(AutogradContext* context, at::Tensor const& input, at::Tensor const& packed,
                            at::Tensor const& bias, at::Tensor const& packed_transpose, at::Tensor const& no_bias) {
    context->save_for_backward({packed_transpose, no_bias});
    return multiply_packed(input, packed, bias);
  }
  static tensor_list backward(AutogradContext* context, tensor_list const& gradients) {
    auto const saved = context->get_saved_variables();
    return {multiply_packed(gradients[0], saved[0], saved[1]), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
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
  forward_ = pack_matrix(weight);
  backward_ = pack_matrix(weight.t());
  no_bias_ = at::zeros({weight.size(0)}, at::kFloat);
}

at::Tensor FrozenLinear::operator()(at::Tensor const& input) const {
  if (weight_.defined()) return at::addmm(bias_, input, weight_);
  return Product::apply(input, forward_, bias_, backward_, no_bias_);
}

}  // namespace retort
