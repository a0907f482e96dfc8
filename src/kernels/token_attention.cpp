#include "retort/kernels/token_attention.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "retort/kernels/vector_math.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

// What the kernels read, as plain arrays. Slopes that are none are zeros.
struct Tables {
  float const *logits, *values, *slope_logits, *slope_values;
  std::int64_t heads, queries, width;
};

struct Tokens {
  std::int32_t const* rows;
  float const *offsets, *scales, *slopes;  // scales and slopes may be null
};

// out[q] = logits of token t under all heads and queries.
[[gnu::always_inline]] inline void token_logits(Tables const& tables, Tokens const& tokens, std::int64_t t,
                                                float* out) {
  auto const all = tables.heads * tables.queries;
  float const a = tokens.scales ? tokens.scales[t] : 1.0F, b = tokens.slopes ? tokens.slopes[t] : 0.0F,
              offset = tokens.offsets[t];
  float const* const row = tables.logits + tokens.rows[t] * all;
  for (std::int64_t q = 0; q < all; ++q) out[q] = a * row[q] + b * tables.slope_logits[q] + offset;
}

// One cell forward: result [queries, heads * width], and the logarithm of each softmax's denominator [heads * queries].
RETORT_EACH_CPU void attend(Tables const& tables, Tokens const& tokens, std::int64_t begin, std::int64_t end,
                            float* work, float* result, float* denominators) {
  auto const all = tables.heads * tables.queries, width = tables.width, queries = tables.queries;
  float *const largest = work, *const sums = work + all, *const mean = work + 2 * all,
               *const shares = mean + all * width;  // mean [heads, width, queries]
  float* const value = shares + all;
  for (std::int64_t q = 0; q < all; ++q) largest[q] = -3e38F, sums[q] = 0;
  for (auto t = begin; t < end; ++t) {
    token_logits(tables, tokens, t, shares);
    for (std::int64_t q = 0; q < all; ++q) largest[q] = largest[q] > shares[q] ? largest[q] : shares[q];
  }
  for (std::int64_t i = 0; i < all * width; ++i) mean[i] = 0;
  for (auto t = begin; t < end; ++t) {
    token_logits(tables, tokens, t, shares);
    for (std::int64_t q = 0; q < all; ++q) shares[q] = vector_exp(shares[q] - largest[q]);
    for (std::int64_t q = 0; q < all; ++q) sums[q] += shares[q];
    float const a = tokens.scales ? tokens.scales[t] : 1.0F, b = tokens.slopes ? tokens.slopes[t] : 0.0F;
    float const* const row = tables.values + tokens.rows[t] * tables.heads * width;
    for (std::int64_t i = 0; i < tables.heads * width; ++i) value[i] = a * row[i] + b * tables.slope_values[i];
    for (std::int64_t h = 0; h < tables.heads; ++h)
      for (std::int64_t i = 0; i < width; ++i) {
        float* const to = mean + (h * width + i) * queries;
        float const* const share = shares + h * queries;
        float const v = value[h * width + i];
        for (std::int64_t j = 0; j < queries; ++j) to[j] += v * share[j];
      }
  }
  for (std::int64_t h = 0; h < tables.heads; ++h)
    for (std::int64_t j = 0; j < queries; ++j) {
      float const inverse = 1.0F / sums[h * queries + j];
      for (std::int64_t i = 0; i < width; ++i)
        result[(j * tables.heads + h) * width + i] = mean[(h * width + i) * queries + j] * inverse;
    }
  for (std::int64_t q = 0; q < all; ++q) denominators[q] = largest[q] + vector_log(sums[q]);
}

struct Gradients {
  float *logits, *values, *scales, *slopes, *slope_logits, *slope_values;  // the last four may be null
};

// One cell backward: adds to the gradients of tables and slopes, sets those of its tokens.
RETORT_EACH_CPU void attend_backward(Tables const& tables, Tokens const& tokens, std::int64_t begin, std::int64_t end,
                                     float* work, float const* result, float const* denominators, float const* upstream,
                                     Gradients const& into) {
  auto const all = tables.heads * tables.queries, width = tables.width, queries = tables.queries,
             outputs = tables.heads * width;
  float *const turned = work, *const inner = work + all * width, *const shares = inner + all,
               *const pulls = shares + all, *const value = pulls + all, *const pushed = value + outputs;
  for (std::int64_t h = 0; h < tables.heads; ++h)
    for (std::int64_t j = 0; j < queries; ++j) {
      float dot = 0;
      for (std::int64_t i = 0; i < width; ++i) {
        float const g = upstream[j * outputs + h * width + i];
        turned[(h * width + i) * queries + j] = g;
        dot += g * result[j * outputs + h * width + i];
      }
      inner[h * queries + j] = dot;
    }
  for (auto t = begin; t < end; ++t) {
    token_logits(tables, tokens, t, shares);
    for (std::int64_t q = 0; q < all; ++q) shares[q] = vector_exp(shares[q] - denominators[q]);
    float const a = tokens.scales ? tokens.scales[t] : 1.0F, b = tokens.slopes ? tokens.slopes[t] : 0.0F;
    auto const row = static_cast<std::int64_t>(tokens.rows[t]);
    float const* const values = tables.values + row * outputs;
    for (std::int64_t i = 0; i < outputs; ++i) value[i] = a * values[i] + b * tables.slope_values[i], pushed[i] = 0;
    for (std::int64_t q = 0; q < all; ++q) pulls[q] = -inner[q];
    for (std::int64_t h = 0; h < tables.heads; ++h) {
      for (std::int64_t i = 0; i < width; ++i) {
        float const v = value[h * width + i];
        float const* const g = turned + (h * width + i) * queries;
        for (std::int64_t j = 0; j < queries; ++j) pulls[h * queries + j] += v * g[j];
      }
      for (std::int64_t j = 0; j < queries; ++j) {
        float const share = shares[h * queries + j];
        float const* const g = upstream + j * outputs + h * width;
        for (std::int64_t i = 0; i < width; ++i) pushed[h * width + i] += share * g[i];
      }
    }
    for (std::int64_t q = 0; q < all; ++q) pulls[q] *= shares[q];
    float *const to_logits = into.logits + row * all, *const to_values = into.values + row * outputs;
    for (std::int64_t q = 0; q < all; ++q) to_logits[q] += a * pulls[q];
    for (std::int64_t i = 0; i < outputs; ++i) to_values[i] += a * pushed[i];
    if (into.scales) {
      float const* const logits = tables.logits + row * all;
      float scale = 0;
      for (std::int64_t q = 0; q < all; ++q) scale += pulls[q] * logits[q];
      for (std::int64_t i = 0; i < outputs; ++i) scale += pushed[i] * values[i];
      into.scales[t] = scale;
    }
    if (into.slopes) {
      float slope = 0;
      for (std::int64_t q = 0; q < all; ++q)
        slope += pulls[q] * tables.slope_logits[q], into.slope_logits[q] += b * pulls[q];
      for (std::int64_t i = 0; i < outputs; ++i)
        slope += pushed[i] * tables.slope_values[i], into.slope_values[i] += b * pushed[i];
      into.slopes[t] = slope;
    }
  }
}

float const* data_of(at::Tensor const& tensor) { return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr; }

struct TokenAttention : torch::autograd::Function<TokenAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, std::shared_ptr<CellTokens const> const& tokens,
                            at::Tensor const& logits_in, at::Tensor const& values_in,
                            std::optional<at::Tensor> const& scales_in, std::optional<at::Tensor> const& slopes_in,
                            std::optional<at::Tensor> const& slope_logits_in,
                            std::optional<at::Tensor> const& slope_values_in) {
    auto const logits = logits_in.contiguous(), values = values_in.contiguous();
    auto const heads = logits.size(1), queries = logits.size(2), width = values.size(2), cells = tokens->cells();
    auto const whole = [](std::optional<at::Tensor> const& tensor) {
      return tensor ? tensor->contiguous() : at::Tensor();
    };
    auto const scales = whole(scales_in), slopes = whole(slopes_in);
    auto const slope_logits = slope_logits_in ? slope_logits_in->contiguous() : at::zeros({heads, queries}),
               slope_values = slope_values_in ? slope_values_in->contiguous() : at::zeros({heads, width});
    auto const result = at::empty({cells, queries, heads * width}), denominators = at::empty({cells, heads * queries});
    Tables const tables{
        data_of(logits), data_of(values), data_of(slope_logits), data_of(slope_values), heads, queries, width};
    Tokens const of{tokens->rows.data(), tokens->logit_offsets.data(), data_of(scales), data_of(slopes)};
    std::vector<float> work(index(heads * (queries * (3 + width) + width)));
    for (std::int64_t c = 0; c < cells; ++c)
      attend(tables, of, tokens->indptr[index(c)], tokens->indptr[index(c) + 1], work.data(),
             result.data_ptr<float>() + c * queries * heads * width,
             denominators.data_ptr<float>() + c * heads * queries);
    context->save_for_backward({logits, values, scales, slopes, slope_logits, slope_values, result, denominators});
    context->saved_data["tokens"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(tokens));
    return result;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    auto const saved = context->get_saved_variables();
    auto const held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["tokens"].toCapsule());
    CellTokens const& tokens = *held->tokens;
    auto const &logits = saved[0], &values = saved[1], &scales = saved[2], &slopes = saved[3], &slope_logits = saved[4],
               &slope_values = saved[5], &result = saved[6], &denominators = saved[7];
    auto const heads = logits.size(1), queries = logits.size(2), width = values.size(2), outputs = heads * width;
    auto const by_logits = at::zeros_like(logits), by_values = at::zeros_like(values);
    auto const like = [](at::Tensor const& tensor) { return tensor.defined() ? at::zeros_like(tensor) : at::Tensor(); };
    auto const by_scales = like(scales), by_slopes = like(slopes), by_slope_logits = at::zeros_like(slope_logits),
               by_slope_values = at::zeros_like(slope_values);
    auto const gradient = upstream[0].contiguous();
    Tables const tables{
        data_of(logits), data_of(values), data_of(slope_logits), data_of(slope_values), heads, queries, width};
    Tokens const of{tokens.rows.data(), tokens.logit_offsets.data(), data_of(scales), data_of(slopes)};
    auto const into = [](at::Tensor const& tensor) { return tensor.defined() ? tensor.data_ptr<float>() : nullptr; };
    Gradients const gradients{into(by_logits), into(by_values),       into(by_scales),
                              into(by_slopes), into(by_slope_logits), into(by_slope_values)};
    std::vector<float> work(index(heads * (queries * (3 + width) + 2 * width)));
    for (std::int64_t c = 0; c < tokens.cells(); ++c)
      attend_backward(tables, of, tokens.indptr[index(c)], tokens.indptr[index(c) + 1], work.data(),
                      data_of(result) + c * queries * outputs, data_of(denominators) + c * heads * queries,
                      data_of(gradient) + c * queries * outputs, gradients);
    auto const has_slopes = slopes.defined();
    return {at::Tensor(),
            by_logits,
            by_values,
            by_scales,
            by_slopes,
            has_slopes ? by_slope_logits : at::Tensor(),
            has_slopes ? by_slope_values : at::Tensor()};
  }

  // Keeps the tokens until backward.
  struct Held : torch::CustomClassHolder {
    explicit Held(std::shared_ptr<CellTokens const> held) : tokens(std::move(held)) {}
    std::shared_ptr<CellTokens const> tokens;
  };
};

}  // namespace

at::Tensor token_attention(std::shared_ptr<CellTokens const> const& tokens, at::Tensor const& logits,
                           at::Tensor const& values, at::Tensor const& scales, at::Tensor const& slopes,
                           at::Tensor const& slope_logits, at::Tensor const& slope_values) {
  auto const count = static_cast<std::int64_t>(tokens->rows.size());
  bool const fits = logits.dim() == 3 && values.dim() == 3 && logits.size(0) == values.size(0) &&
                    logits.size(1) == values.size(1) && (!scales.defined() || scales.numel() == count) &&
                    (!slopes.defined() || (slopes.numel() == count && slope_logits.sizes() == logits.sizes().slice(1) &&
                                           slope_values.sizes() == values.sizes().slice(1)));
  if (!fits) fail(ExitCode::failed, "token_attention: shapes disagree");
  auto const maybe = [](at::Tensor const& tensor) { return tensor.defined() ? std::optional(tensor) : std::nullopt; };
  return TokenAttention::apply(tokens, logits, values, maybe(scales), maybe(slopes), maybe(slope_logits),
                               maybe(slope_values));
}

}  // namespace retort
