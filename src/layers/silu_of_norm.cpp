#include "retort/layers/silu_of_norm.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <type_traits>
#include <vector>

#include "retort/kernels/shard_kernel.hpp"
#include "retort/kernels/vector_math.hpp"
#include "retort/run/error.hpp"

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed between functions, all of which are inlined

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using Lanes = float [[gnu::vector_size(64)]];
using Words = std::int32_t [[gnu::vector_size(64)]];
constexpr std::int64_t lanes = 16;

template <class Float>
[[gnu::always_inline]] inline Float load(float const* from) {
  Float value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class Float>
[[gnu::always_inline]] inline void store(float* to, Float const& value) {
  std::memcpy(to, &value, sizeof value);
}

template <class Float>
[[gnu::always_inline]] inline Float sigmoid_of(Float const& x) {
  Float e = -x;
  exponentiate<Float, std::conditional_t<std::is_same_v<Float, float>, std::int32_t, Words>>(e);
  return 1.0F / (1.0F + e);
}

// A sum over a row in one order on every processor: sixteen parts, which are added in a tree, then what is left over.
struct RowSum {
  Lanes parts = {};
  float rest = 0;
  [[gnu::always_inline]] void add(Lanes const& values) { parts += values; }
  [[gnu::always_inline]] void add(float value) { rest += value; }
  [[gnu::always_inline]] float total() const {
    float left[lanes];
    std::memcpy(left, &parts, sizeof parts);
    for (std::int64_t apart = lanes / 2; apart > 0; apart /= 2)
      for (std::int64_t i = 0; i < apart; ++i) left[i] += left[i + apart];
    return left[0] + rest;
  }
};

// visit(place, kind) for a row's places: whole vectors, then single numbers; kind is a pointer to the type to use.
template <class Visit>
[[gnu::always_inline]] inline void along(std::int64_t width, Visit const& visit) {
  std::int64_t const whole = width - width % lanes;
  for (std::int64_t j = 0; j < whole; j += lanes) visit(j, static_cast<Lanes const*>(nullptr));
  for (std::int64_t j = whole; j < width; ++j) visit(j, static_cast<float const*>(nullptr));
}
#define RETORT_VISIT [&](std::int64_t j, auto const* kind) __attribute__((always_inline))
#define RETORT_FLOAT using Float = std::remove_cvref_t<decltype(*kind)>

// `sum` gets x + added, which may be one array with x; `moments` a row's mean and 1 / sqrt(variance + epsilon).
RETORT_EACH_CPU void take_rows(float const* x, float const* added, float const* scale, float const* shift,
                               std::int64_t rows, std::int64_t width, float epsilon, float* sum, float* moments,
                               float* result) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, sum += width, result += width, moments += 2) {
    RowSum total, squares;
    along(
        width, RETORT_VISIT {
          RETORT_FLOAT;
          Float value = load<Float>(x + j);
          if (added) value += load<Float>(added + j);
          store(sum + j, value);
          total.add(value);
        });
    if (added) added += width;
    float const mean = total.total() / static_cast<float>(width);
    along(
        width, RETORT_VISIT {
          RETORT_FLOAT;
          Float const away = load<Float>(sum + j) - mean;
          squares.add(away * away);
        });
    float const inverse = 1.0F / std::sqrt(squares.total() / static_cast<float>(width) + epsilon);
    moments[0] = mean, moments[1] = inverse;
    along(
        width, RETORT_VISIT {
          RETORT_FLOAT;
          Float const a = (load<Float>(sum + j) - mean) * inverse * load<Float>(scale + j) + load<Float>(shift + j);
          store(result + j, a * sigmoid_of(a));
        });
  }
}

// of_scale and of_shift [width] are added to; `back` is the gradient of the sum.
RETORT_EACH_CPU void take_back(float const* upstream, float const* sum, float const* moments, float const* scale,
                               float const* shift, std::int64_t rows, std::int64_t width, float* back, float* of_scale,
                               float* of_shift) {
  for (std::int64_t row = 0; row < rows; ++row, upstream += width, sum += width, back += width, moments += 2) {
    float const mean = moments[0], inverse = moments[1];
    RowSum plain, along_unit;
    along(
        width, RETORT_VISIT {
          RETORT_FLOAT;
          Float const unit = (load<Float>(sum + j) - mean) * inverse, weight = load<Float>(scale + j);
          Float const a = unit * weight + load<Float>(shift + j), sigmoid = sigmoid_of(a);
          Float const by_normed = load<Float>(upstream + j) * sigmoid * (1.0F + a * (1.0F - sigmoid));
          store(of_scale + j, load<Float>(of_scale + j) + by_normed * unit);
          store(of_shift + j, load<Float>(of_shift + j) + by_normed);
          Float const by_unit = by_normed * weight;
          store(back + j, by_unit);
          plain.add(by_unit);
          along_unit.add(by_unit * unit);
        });
    float const common = plain.total() / static_cast<float>(width),
                slope = along_unit.total() / static_cast<float>(width);
    along(
        width, RETORT_VISIT {
          RETORT_FLOAT;
          Float const unit = (load<Float>(sum + j) - mean) * inverse;
          store(back + j, (load<Float>(back + j) - common - unit * slope) * inverse);
        });
  }
}

RETORT_EACH_CPU void silu_rows(float const* x, std::int64_t rows, std::int64_t width, float* result) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, result += width)
    along(
        width, RETORT_VISIT {
          RETORT_FLOAT;
          Float const a = load<Float>(x + j);
          store(result + j, a * sigmoid_of(a));
        });
}

RETORT_EACH_CPU void silu_back(float const* upstream, float const* x, std::int64_t rows, std::int64_t width,
                               float* back) {
  for (std::int64_t row = 0; row < rows; ++row, upstream += width, x += width, back += width)
    along(
        width, RETORT_VISIT {
          RETORT_FLOAT;
          Float const a = load<Float>(x + j), sigmoid = sigmoid_of(a);
          store(back + j, load<Float>(upstream + j) * sigmoid * (1.0F + a * (1.0F - sigmoid)));
        });
}

struct SiluOfNorm : torch::autograd::Function<SiluOfNorm> {
  static at::Tensor forward(AutogradContext* context, at::Tensor const& x, std::optional<at::Tensor> const& added,
                            at::Tensor const& scale, at::Tensor const& shift, double epsilon, std::int64_t shards) {
    std::int64_t const n = x.size(0), width = x.size(1);
    at::Tensor const sum = at::empty_like(x), moments = at::empty({n, 2}), result = at::empty_like(x);
    take_rows(x.const_data_ptr<float>(), added ? added->const_data_ptr<float>() : nullptr,
              scale.const_data_ptr<float>(), shift.const_data_ptr<float>(), n, width, static_cast<float>(epsilon),
              sum.data_ptr<float>(), moments.data_ptr<float>(), result.data_ptr<float>());
    context->save_for_backward({sum, moments, scale, shift});
    context->saved_data["scale_gradient"] = scale.grad();
    context->saved_data["shift_gradient"] = shift.grad();
    context->saved_data["shards"] = shards;
    context->saved_data["added"] = added.has_value();
    return result;
  }

  static variable_list backward(AutogradContext* context, variable_list const& gradients) {
    auto const saved = context->get_saved_variables();
    at::Tensor const upstream = gradients[0].contiguous(), &sum = saved[0], back = at::empty_like(sum);
    std::int64_t const width = sum.size(1), shards = context->saved_data["shards"].toInt(), rows = sum.size(0) / shards;
    at::Tensor const of_scale = at::zeros({shards, width}), of_shift = at::zeros({shards, width});
    for (std::int64_t s = 0; s < shards; ++s) {
      std::int64_t const first = s * rows * width;
      take_back(upstream.const_data_ptr<float>() + first, sum.const_data_ptr<float>() + first,
                saved[1].const_data_ptr<float>() + 2 * s * rows, saved[2].const_data_ptr<float>(),
                saved[3].const_data_ptr<float>(), rows, width, back.data_ptr<float>() + first,
                of_scale.data_ptr<float>() + s * width, of_shift.data_ptr<float>() + s * width);
    }
    kernel::bias_gradient(of_scale.const_data_ptr<float>(), shards, shards, width,
                          context->saved_data["scale_gradient"].toTensor().data_ptr<float>());
    kernel::bias_gradient(of_shift.const_data_ptr<float>(), shards, shards, width,
                          context->saved_data["shift_gradient"].toTensor().data_ptr<float>());
    return {back, context->saved_data["added"].toBool() ? back : at::Tensor(), {}, {}, {}, {}};
  }
};

struct Silu : torch::autograd::Function<Silu> {
  static at::Tensor forward(AutogradContext* context, at::Tensor const& x) {
    at::Tensor const result = at::empty_like(x);
    silu_rows(x.const_data_ptr<float>(), x.size(0), x.size(1), result.data_ptr<float>());
    context->save_for_backward({x});
    return result;
  }
  static variable_list backward(AutogradContext* context, variable_list const& gradients) {
    at::Tensor const x = context->get_saved_variables()[0], upstream = gradients[0].contiguous(),
                     back = at::empty_like(x);
    silu_back(upstream.const_data_ptr<float>(), x.const_data_ptr<float>(), x.size(0), x.size(1),
              back.data_ptr<float>());
    return {back};
  }
};

bool is_ours(at::Tensor const& x, std::int64_t shards) {
  return shards && x.is_cpu() && x.dim() == 2 && x.scalar_type() == at::kFloat;
}

}  // namespace

at::Tensor silu_of_norm(LayerNorm const& norm, at::Tensor const& x, at::Tensor const& added, std::int64_t shards) {
  bool const no_other = !added.defined() || (is_ours(added, shards) && added.sizes() == x.sizes());
  if (!is_ours(x, shards) || !no_other || !norm.scale.grad().defined())
    return at::silu(norm(added.defined() ? x + added : x));
  if (x.size(1) != norm.width || x.size(0) % shards)
    fail(ExitCode::failed, "a norm of width {} was given {} rows of width {} of {} shards", norm.width, x.size(0),
         x.size(1), shards);
  return SiluOfNorm::apply(x.contiguous(), added.defined() ? std::optional(added.contiguous()) : std::nullopt,
                           norm.scale, norm.shift, norm.epsilon, shards);
}

at::Tensor silu(at::Tensor const& x, std::int64_t shards) {
  return is_ours(x, shards) ? Silu::apply(x.contiguous()) : at::silu(x);
}

}  // namespace retort
