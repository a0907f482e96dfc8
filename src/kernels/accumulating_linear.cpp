#include "retort/kernels/accumulating_linear.hpp"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "retort/kernels/shard_linear.hpp"

namespace retort {
namespace {

constexpr std::int64_t floats_of_a_piece = 1 << 18;  // 1 MB: the second-level cache

// From so many rows on a gradient's way through memory is small beside its product, and pieces only make the library
// pack the input again.
constexpr std::int64_t many_rows = 512;

bool is_intel() {
#if defined(__x86_64__)
  static bool const intel = __builtin_cpu_is("intel");
  return intel;
#else
  return false;
#endif
}

// Our product is a fifth to a half faster than the library's where the sums are long enough (one core of an AMD EPYC,
// AVX-512); on Intel's CPUs only where rows are few.
at::Tensor product(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias) {
  constexpr std::int64_t shortest_sum = 64, few_rows = 192;
  bool const ours = weight.size(1) >= shortest_sum && (input.size(0) < few_rows || !is_intel());
  return ours ? multiply_rows(input.contiguous(), weight, bias) : at::linear(input, weight, bias);
}

struct AccumulatingLinear : torch::autograd::Function<AccumulatingLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::Tensor const& input,
                            at::Tensor const& weight, std::optional<at::Tensor> const& bias,
                            at::Tensor const& weight_gradient) {
    context->save_for_backward({input, weight});
    context->saved_data["into"] = weight_gradient;
    context->saved_data["has_bias"] = bias.has_value();
    return product(input, weight, bias.value_or(at::Tensor()));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    auto const saved = context->get_saved_variables();
    at::Tensor const &input = saved[0], &weight = saved[1];
    at::Tensor const into = context->saved_data["into"].toTensor();
    at::Tensor const by_output = upstream[0].t();  // [out, n]
    auto const out = weight.size(0),
               piece = input.size(0) >= many_rows ? out : std::max<std::int64_t>(1, floats_of_a_piece / weight.size(1));
    at::Tensor const formed = at::empty({std::min(out, piece), weight.size(1)}, weight.options());
    for (std::int64_t begin = 0; begin < out; begin += piece) {
      auto const rows = std::min(piece, out - begin);
      at::Tensor part = formed.narrow(0, 0, rows);
      at::mm_out(part, by_output.narrow(0, begin, rows), input);
      into.narrow(0, begin, rows).add_(part);
    }
    at::Tensor const input_gradient = context->needs_input_grad(0) ? at::mm(upstream[0], weight) : at::Tensor();
    return {input_gradient, at::Tensor(), context->saved_data["has_bias"].toBool() ? upstream[0].sum(0) : at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor accumulating_linear(at::Tensor const& input, at::Tensor const& weight, at::Tensor const& bias,
                               at::Tensor const& weight_gradient) {
  bool const ours = weight.is_cpu() && weight.is_contiguous() && input.scalar_type() == at::kFloat &&
                    weight.scalar_type() == at::kFloat && !at::autocast::is_autocast_enabled(at::kCPU);
  bool const learns = at::GradMode::is_enabled() && (input.requires_grad() || weight.requires_grad());
  if (ours && !learns) return product(input, weight, bias);
  if (!ours || !weight_gradient.defined()) return at::linear(input, weight, bias);
  return AccumulatingLinear::apply(input, weight, bias.defined() ? std::optional(bias) : std::nullopt, weight_gradient);
}

}  // namespace retort
