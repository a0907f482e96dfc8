// A Linear layer whose weights no longer change, for the few rows that distillation sends through it at a time.
#pragma once

#include <ATen/core/Tensor.h>
namespace retort {

// input [n, in] -> [n, out] = input @ weight [in, out] + bias [out], differentiable in the input. On the CPU the weight
// is kept packed (packed_product.hpp), once for the product and once for its derivative; on a GPU this is at::addmm.
class FrozenLinear {
 public:
  FrozenLinear() = default;
  // `weight` [in, out], any strides: pass weight.t() of a PyTorch layer. float32; no gradient goes to it.
  FrozenLinear(at::Tensor const& weight, at::Tensor const& bias);
  at::Tensor operator()(at::Tensor const& input) const;

 private:
  at::Tensor bias_, no_bias_;      // [out], [in] zeros
  at::Tensor forward_, backward_;  // packed: weight, and its transpose
  at::Tensor weight_;              // on a GPU, instead of the packed ones
};

}  // namespace retort
