#include "retort/kernels/packed_product.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "retort/kernels/packed_kernel.hpp"
#include "retort/run/error.hpp"

namespace retort {

at::Tensor pack_matrix(at::Tensor const& matrix) {
  at::NoGradGuard no_graph;
  std::int64_t const in = matrix.size(0), out = matrix.size(1),
                     panels = (out + kernel::panel_columns - 1) / kernel::panel_columns;
  at::Tensor const packed = at::zeros({panels, in, kernel::panel_columns}, at::kFloat);
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    std::int64_t const begin = panel * kernel::panel_columns, count = std::min(kernel::panel_columns, out - begin);
    packed.select(0, panel).narrow(1, 0, count).copy_(matrix.narrow(1, begin, count));
  }
  return packed;
}

void multiply_packed_out(at::Tensor const& result, at::Tensor const& input, at::Tensor const& packed,
                         at::Tensor const& bias) {
  if (input.dim() != 2 || input.size(1) != packed.size(1) || input.scalar_type() != at::kFloat ||
      (input.stride(1) != 1 && input.size(1) > 1))
    fail(ExitCode::failed, "a packed matrix of {} inputs was given rows of {}, or rows that do not lie together",
         packed.size(1), input.size(-1));
  kernel::multiply_packed(input.const_data_ptr<float>(), input.stride(0), input.size(0), input.size(1),
                          packed.const_data_ptr<float>(), bias.const_data_ptr<float>(), bias.size(0),
                          result.data_ptr<float>());
}

at::Tensor multiply_packed(at::Tensor const& input, at::Tensor const& packed, at::Tensor const& bias) {
  at::Tensor const result = at::empty({input.size(0), bias.size(0)}, at::kFloat);
  multiply_packed_out(result, input.contiguous(), packed, bias);
  return result;
}

}  // namespace retort
