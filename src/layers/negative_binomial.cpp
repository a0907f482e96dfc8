#include "retort/layers/negative_binomial.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "retort/cells/libraries.hpp"
#include "retort/kernels/vector_math.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr float tiny = 1e-8F;
constexpr std::int64_t lanes = 16;  // partial sums that the compiler keeps in vector registers

double sum_of(float const* values, std::int64_t count) {
  float partial[lanes] = {};
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (std::int64_t j = 0; j < lanes; ++j) partial[j] += values[i + j];
  double sum = 0;
  for (; i < count; ++i) sum += values[i];
  for (float const lane : partial) sum += lane;
  return sum;
}

// mean[g] = library * softmax(logits).
RETORT_EACH_CPU void mean_counts(float const* logits, std::int64_t genes, float library, float* mean) {
  float largest[lanes];
  for (std::int64_t j = 0; j < lanes; ++j) largest[j] = logits[0];
  std::int64_t g = 0;
  for (; g + lanes <= genes; g += lanes)
    for (std::int64_t j = 0; j < lanes; ++j) largest[j] = largest[j] > logits[g + j] ? largest[j] : logits[g + j];
  float top = largest[0];
  for (; g < genes; ++g) top = top > logits[g] ? top : logits[g];
  for (std::int64_t j = 0; j < lanes; ++j) top = top > largest[j] ? top : largest[j];
  for (g = 0; g < genes; ++g) mean[g] = vector_exp(logits[g] - top);
  auto const scale = static_cast<float>(library / sum_of(mean, genes));
  for (g = 0; g < genes; ++g) mean[g] *= scale;
}

// -log p of a count of zero, [genes].
RETORT_EACH_CPU void zero_terms(float const* mean, float const* theta, float const* log_theta, std::int64_t genes,
                                float* out) {
  for (std::int64_t g = 0; g < genes; ++g) out[g] = theta[g] * (vector_log(theta[g] + mean[g] + tiny) - log_theta[g]);
}

// Its derivatives by the mean and by theta.
RETORT_EACH_CPU void zero_gradients(float const* mean, float const* theta, float const* log_theta, std::int64_t genes,
                                    float* by_mean, float* by_theta) {
  for (std::int64_t g = 0; g < genes; ++g) {
    float const sum = theta[g] + mean[g] + tiny;
    by_mean[g] = theta[g] / sum;
    by_theta[g] = vector_log(sum) - log_theta[g] - mean[g] / sum;  // theta/sum - 1 = -(mean + e)/sum
  }
}

RETORT_EACH_CPU void through_softmax(float const* mean, float const* by_mean, std::int64_t genes, float inner,
                                     float upstream, float* by_logits) {
  for (std::int64_t g = 0; g < genes; ++g) by_logits[g] = upstream * mean[g] * (by_mean[g] - inner);
}

// What the non-zeros of a batch need of theta: lgamma or digamma of it and of count + theta, [nonzeros].
at::Tensor theta_at_nonzeros(CsrBlock const& counts, at::Tensor const& theta, bool own) {
  auto const found = at::empty({counts.nonzeros()});
  float* const to = found.data_ptr<float>();
  float const* const from = theta.const_data_ptr<float>();
  for (std::int64_t c = 0; c < counts.rows(); ++c)
    for (auto k = index(counts.indptr[index(c)]); k < index(counts.indptr[index(c) + 1]); ++k)
      to[k] = from[(own ? c * counts.genes : 0) + counts.indices[k]];
  return found;
}

struct NegativeBinomialLoss : torch::autograd::Function<NegativeBinomialLoss> {
  struct Held : torch::CustomClassHolder {
    explicit Held(std::shared_ptr<CsrBlock const> held) : counts(std::move(held)) {}
    std::shared_ptr<CsrBlock const> counts;
  };

  static at::Tensor forward(torch::autograd::AutogradContext* context, std::shared_ptr<CsrBlock const> const& held,
                            at::Tensor const& logits_in, at::Tensor const& log_theta_in) {
    CsrBlock const& counts = *held;
    auto const logits = logits_in.contiguous(), theta = log_theta_in.exp().contiguous(),
               log_theta = (theta + tiny).log();
    auto const genes = counts.genes;
    bool const own = theta.dim() == 2;
    auto const values = at::from_blob(const_cast<float*>(counts.values.data()), {counts.nonzeros()}, at::kFloat);
    auto const theta_there = theta_at_nonzeros(counts, theta, own);
    auto const gammas =
        at::lgamma(values + theta_there) - at::lgamma(theta_there) - at::lgamma(values + 1);  // [nonzeros]
    auto const result = at::empty({counts.rows()});
    auto const sums = libraries(counts);
    std::vector<float> mean(index(genes)), terms(index(genes));
    float const* const gamma = gammas.const_data_ptr<float>();
    for (std::int64_t c = 0; c < counts.rows(); ++c) {
      auto const row = index(c);
      auto const* const at_theta = theta.const_data_ptr<float>() + (own ? c * genes : 0);
      mean_counts(logits.const_data_ptr<float>() + c * genes, genes, static_cast<float>(sums[row]), mean.data());
      zero_terms(mean.data(), at_theta, log_theta.const_data_ptr<float>() + (own ? c * genes : 0), genes, terms.data());
      double sum = sum_of(terms.data(), genes);
      for (auto k = index(counts.indptr[row]); k < index(counts.indptr[row + 1]); ++k) {
        auto const g = index(counts.indices[k]);
        sum += counts.values[k] * (std::log(at_theta[g] + mean[g] + tiny) - std::log(mean[g] + tiny)) - gamma[k];
      }
      result.data_ptr<float>()[c] = static_cast<float>(sum);
    }
    context->save_for_backward({logits, theta, log_theta});
    context->saved_data["counts"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(held));
    return result;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    auto const saved = context->get_saved_variables();
    auto const holder = c10::static_intrusive_pointer_cast<Held>(context->saved_data["counts"].toCapsule());
    CsrBlock const& counts = *holder->counts;
    auto const &logits = saved[0], &theta = saved[1], &log_theta = saved[2];
    auto const genes = counts.genes;
    bool const own = theta.dim() == 2;
    auto const pull = upstream[0].contiguous();
    auto const values = at::from_blob(const_cast<float*>(counts.values.data()), {counts.nonzeros()}, at::kFloat);
    auto const theta_there = theta_at_nonzeros(counts, theta, own);
    auto const gammas = at::digamma(values + theta_there) - at::digamma(theta_there);
    float const* const gamma = gammas.const_data_ptr<float>();
    auto const sums = libraries(counts);
    auto const by_logits = at::empty_like(logits), by_theta = at::zeros_like(theta);
    std::vector<float> mean(index(genes)), by_mean(mean.size()), by_own_theta(mean.size()), product(mean.size());
    for (std::int64_t c = 0; c < counts.rows(); ++c) {
      auto const row = index(c);
      auto const* const at_theta = theta.const_data_ptr<float>() + (own ? c * genes : 0);
      double const library = sums[row];
      mean_counts(logits.const_data_ptr<float>() + c * genes, genes, static_cast<float>(library), mean.data());
      zero_gradients(mean.data(), at_theta, log_theta.const_data_ptr<float>() + (own ? c * genes : 0), genes,
                     by_mean.data(), by_own_theta.data());
      for (auto k = index(counts.indptr[row]); k < index(counts.indptr[row + 1]); ++k) {
        auto const g = index(counts.indices[k]);
        float const x = counts.values[k], share = x / (at_theta[g] + mean[g] + tiny);
        by_mean[g] -= share * at_theta[g] /
                      (mean[g] + tiny);  // share - x / (mean + e), which would lose all digits where theta is small
        by_own_theta[g] += share - gamma[k];
      }
      for (std::size_t g = 0; g < mean.size(); ++g) product[g] = mean[g] * by_mean[g];
      auto const inner = static_cast<float>(library > 0 ? sum_of(product.data(), genes) / library : 0);
      float const weight = pull.const_data_ptr<float>()[c];
      through_softmax(mean.data(), by_mean.data(), genes, inner, weight, by_logits.data_ptr<float>() + c * genes);
      float* const to = by_theta.data_ptr<float>() + (own ? c * genes : 0);
      for (std::size_t g = 0; g < mean.size(); ++g) to[g] += weight * by_own_theta[g];
    }
    return {at::Tensor(), by_logits, by_theta * theta};
  }
};

}  // namespace

at::Tensor negative_binomial_loss(std::shared_ptr<CsrBlock const> const& counts, at::Tensor const& logits,
                                  at::Tensor const& log_theta) {
  bool const fits = logits.dim() == 2 && logits.size(0) == counts->rows() && logits.size(1) == counts->genes &&
                    log_theta.size(-1) == counts->genes &&
                    (log_theta.dim() == 1 || log_theta.sizes() == logits.sizes());
  if (!fits) fail(ExitCode::failed, "negative_binomial_loss: shapes disagree");
  return NegativeBinomialLoss::apply(counts, logits, log_theta);
}

}  // namespace retort
