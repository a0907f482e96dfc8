#include "retort/kernels/shard_linear.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "retort/kernels/packed_kernel.hpp"
#include "retort/kernels/shard_kernel.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t depth_of_a_piece =
    512;  // a panel of it is 128 KB: it stays in the second-level cache while all rows pass

constexpr std::int64_t outputs_of_a_group = 96;  // times 64 rows are 24 KB of sums
constexpr std::int64_t most_floats_of_rows =
    1 << 18;  // 1 MB, the second-level cache: panels of rows are read again for each group

constexpr std::int64_t depth_of_a_backward_piece = 128;  // all panels of it, 512 KB at 1,024 inputs

struct ShardLinear : torch::autograd::Function<ShardLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::Tensor const& input,
                            at::Tensor const& weight, at::Tensor const& bias, std::int64_t shards) {
    context->save_for_backward({input, weight});
    context->saved_data["weight_gradient"] = weight.grad();
    context->saved_data["bias_gradient"] = bias.defined() ? bias.grad() : at::Tensor();
    context->saved_data["shards"] = shards;
    return multiply_rows(input, weight, bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list const& gradients) {
    auto const saved = context->get_saved_variables();
    at::Tensor const upstream = gradients[0].contiguous();
    write_gradients(upstream, saved[0], context->saved_data["shards"].toInt(),
                    context->saved_data["weight_gradient"].toTensor(), context->saved_data["bias_gradient"].toTensor());
    return {context->needs_input_grad(0) ? multiply_rows_back(upstream, saved[1]) : at::Tensor(), at::Tensor(),
            at::Tensor(), at::Tensor()};
  }
};

// So many rows or columns that they fill panels.
std::int64_t whole_panels(std::int64_t count) {
  return (count + kernel::panel_columns - 1) / kernel::panel_columns * kernel::panel_columns;
}

// Panels of rows instead of panels of the weight: where rows fill them, the weight is read once, in its own order, and
// nothing of it is packed. The same sums in the same order as in multiply_rows.
at::Tensor multiply_panels_of_rows(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias) {
  std::int64_t const n = input.size(0), in = weight.size(1), out = weight.size(0);
  at::Tensor const result = at::empty({n, out}, at::kFloat), packed = at::empty({in * whole_panels(n)}, at::kFloat);
  for (std::int64_t row = 0; row < n; row += kernel::panel_columns)
    kernel::pack_transposed(input.const_data_ptr<float>() + row * in, in, in, std::min(kernel::panel_columns, n - row),
                            packed.data_ptr<float>() + row * in);
  float const* const starts = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  float sums[outputs_of_a_group * kernel::panel_columns];  // [outputs][rows]
  for (std::int64_t first = 0; first < out; first += outputs_of_a_group) {
    std::int64_t const outputs = std::min(outputs_of_a_group, out - first);
    for (std::int64_t row = 0; row < n; row += kernel::panel_columns) {
      for (std::int64_t o = 0; o < outputs; ++o)
        std::fill_n(sums + o * kernel::panel_columns, kernel::panel_columns, starts ? starts[first + o] : 0);
      kernel::multiply_panel(weight.const_data_ptr<float>() + first * in, in, outputs, in,
                             packed.const_data_ptr<float>() + row * in, nullptr, kernel::panel_columns, sums,
                             kernel::panel_columns);
      kernel::transpose(sums, kernel::panel_columns, outputs, std::min(kernel::panel_columns, n - row),
                        result.data_ptr<float>() + row * out + first, out);
    }
  }
  return result;
}

}  // namespace

at::Tensor multiply_rows(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias) {
  std::int64_t const n = input.size(0), in = weight.size(1), out = weight.size(0);
  bool const rows_fill_panels = 5 * n >= 4 * whole_panels(n),
             stay_in_cache = in * whole_panels(n) <= most_floats_of_rows;
  if (rows_fill_panels && stay_in_cache) return multiply_panels_of_rows(input, weight, bias);
  at::Tensor const result = at::empty({n, out}, at::kFloat),
                   start = bias.defined() ? bias : at::zeros({out}, at::kFloat);
  std::vector<float> panel(index(std::min(in, depth_of_a_piece) * kernel::panel_columns));
  for (std::int64_t column = 0; column < out; column += kernel::panel_columns) {
    std::int64_t const columns = std::min(kernel::panel_columns, out - column);
    for (std::int64_t k = 0; k < in; k += depth_of_a_piece) {
      std::int64_t const depth = std::min(depth_of_a_piece, in - k);
      kernel::pack_transposed(weight.const_data_ptr<float>() + column * in + k, in, depth, columns, panel.data());
      kernel::multiply_panel(input.const_data_ptr<float>() + k, in, n, depth, panel.data(),
                             k ? nullptr : start.const_data_ptr<float>() + column, columns,
                             result.data_ptr<float>() + column, out);
    }
  }
  return result;
}

at::Tensor multiply_rows_back(at::Tensor const& upstream, at::Tensor const& weight) {
  std::int64_t const n = upstream.size(0), in = weight.size(1), out = weight.size(0);
  at::Tensor const result = at::empty({n, in}, at::kFloat), start = at::zeros({kernel::panel_columns}, at::kFloat);
  at::Tensor const packed = at::empty({depth_of_a_backward_piece * whole_panels(in)}, at::kFloat);
  for (std::int64_t k = 0; k < out; k += depth_of_a_backward_piece) {
    std::int64_t const depth = std::min(depth_of_a_backward_piece, out - k);
    kernel::pack_panels(weight.const_data_ptr<float>() + k * in, depth, in, packed.data_ptr<float>());
    for (std::int64_t column = 0; column < in; column += kernel::panel_columns)
      kernel::multiply_panel(upstream.const_data_ptr<float>() + k, out, n, depth,
                             packed.const_data_ptr<float>() + column * depth,
                             k ? nullptr : start.const_data_ptr<float>(), std::min(kernel::panel_columns, in - column),
                             result.data_ptr<float>() + column, in);
  }
  return result;
}

void write_gradients(at::Tensor const& upstream, at::Tensor const& input, std::int64_t shards,
                     at::Tensor const& weight_gradient, at::Tensor const& bias_gradient) {
  kernel::weight_gradient(upstream.const_data_ptr<float>(), input.const_data_ptr<float>(), input.size(0), shards,
                          upstream.size(1), input.size(1), weight_gradient.data_ptr<float>());
  if (bias_gradient.defined())
    kernel::bias_gradient(upstream.const_data_ptr<float>(), upstream.size(0), shards, upstream.size(1),
                          bias_gradient.data_ptr<float>());
}

at::Tensor shard_linear(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias,
                        std::int64_t shards) {
  if (!weight.device().is_cpu() || !weight.grad().defined()) return at::linear(input, weight, bias);
  bool const fits = input.dim() == 2 && weight.dim() == 2 && input.size(1) == weight.size(1) &&
                    input.scalar_type() == at::kFloat && weight.is_contiguous();
  if (!fits || shards < 1 || !std::has_single_bit(static_cast<std::uint64_t>(shards)) || input.size(0) % shards)
    fail(ExitCode::failed, "a layer of {} shards was given rows or a weight of another shape", shards);
  if (bias.defined() && !bias.grad().defined())
    fail(ExitCode::failed, "a layer of several shards has nowhere to write its bias's gradient");
  return ShardLinear::apply(input.contiguous(), weight, bias, shards);
}

}  // namespace retort
