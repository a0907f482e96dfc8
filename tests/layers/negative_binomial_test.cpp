// The negative-binomial loss of sparse counts against its formula by autograd in double precision, and where numbers
// are extreme.
#include "retort/layers/negative_binomial.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "../numpy_verdict.hpp"
#include "../small_cells.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

using testing_cells::dense;
using testing_cells::largest_difference;

// Whole counts, about a third of the genes; `scale` is the largest. The last cell has none.
std::shared_ptr<CsrBlock const> some_counts(std::int64_t cells, std::int64_t genes, double scale) {
  auto counts = testing_cells::random_cells(cells - 1, genes, 0.3, 7);
  for (float& value : counts.values) value = static_cast<float>(std::ceil(std::pow(value / 3.2, 4) * scale));
  counts.indptr.push_back(counts.indptr.back());
  return std::make_shared<CsrBlock const>(counts);
}

struct LossAndGradients {
  at::Tensor loss, by_logits, by_log_theta;
};

// Under weights that differ by cell.
LossAndGradients differentiated(std::function<at::Tensor(at::Tensor const&, at::Tensor const&)> const& loss_of,
                                at::Tensor const& logits, at::Tensor const& log_theta) {
  auto const l = logits.detach().clone().requires_grad_(), t = log_theta.detach().clone().requires_grad_();
  auto const loss = loss_of(l, t);
  auto const found = torch::autograd::grad({loss}, {l, t}, {at::linspace(-1, 2, loss.numel(), loss.options())});
  return {loss.detach(), found[0], found[1]};
}

LossAndGradients ours(std::shared_ptr<CsrBlock const> const& counts, at::Tensor const& logits,
                      at::Tensor const& log_theta) {
  return differentiated([&](at::Tensor const& l, at::Tensor const& t) { return negative_binomial_loss(counts, l, t); },
                        logits, log_theta);
}

// The formula of the header on all genes.
LossAndGradients formula(CsrBlock const& counts, at::Tensor const& logits, at::Tensor const& log_theta) {
  at::Tensor const x = dense(counts).to(at::kDouble);
  return differentiated(
      [&](at::Tensor const& l, at::Tensor const& t) {
        auto const mu = x.sum(1, true) * l.softmax(1), theta = t.exp(), sum = (theta + mu + 1e-8).log();
        return -(theta * ((theta + 1e-8).log() - sum) + x * ((mu + 1e-8).log() - sum) + at::lgamma(x + theta) -
                 at::lgamma(theta) - at::lgamma(x + 1))
                    .sum(1);
      },
      logits.to(at::kDouble), log_theta.to(at::kDouble));
}

// Losses relative to theirs, gradients to the largest.
void expect_agreement(LossAndGradients const& found, LossAndGradients const& wanted, double of_loss,
                      double of_gradients) {
  auto const largest = [](at::Tensor const& gradient) { return std::max(1.0, gradient.abs().max().item<double>()); };
  EXPECT_LT(((found.loss.to(at::kDouble) - wanted.loss).abs() / wanted.loss.abs().clamp_min(1)).max().item<double>(),
            of_loss);
  EXPECT_LT(largest_difference(found.by_logits, wanted.by_logits), of_gradients * largest(wanted.by_logits));
  EXPECT_LT(largest_difference(found.by_log_theta, wanted.by_log_theta), of_gradients * largest(wanted.by_log_theta));
}

TEST(NegativeBinomialLoss, IsItsFormula) {
  at::manual_seed(3);
  for (std::int64_t const genes : {1, 15, 16, 37, 1003}) {
    auto const counts = some_counts(7, genes, 20);
    auto const logits = at::randn({7, genes});
    for (auto const& log_theta : {at::randn({genes}), at::randn({7, genes})})
      expect_agreement(ours(counts, logits, log_theta), formula(*counts, logits, log_theta), 2e-6, 2e-6);
  }
}

TEST(NegativeBinomialLoss, IsScipysDistribution) {
  at::manual_seed(5);
  auto const counts = some_counts(6, 50, 20);
  auto const logits = at::randn({6, 50}), log_theta = at::randn({50});
  EXPECT_TRUE(numpy_agrees("scipy_nbinom",
                           {{"counts", dense(*counts)},
                            {"logits", logits},
                            {"log_theta", log_theta},
                            {"found", negative_binomial_loss(counts, logits, log_theta)}},
                           R"py(
from scipy import special, stats
mean = c['counts'].sum(1, keepdims=True) * special.softmax(c['logits'], axis=1)
theta = np.exp(c['log_theta'])
filled = mean[:, 0] > 0  # the last cell has no counts, hence no mean
near(c['found'][filled], -stats.nbinom.logpmf(c['counts'], theta, theta / (theta + mean)).sum(1)[filled], rtol=1e-5)
)py"));
}

TEST(NegativeBinomialLoss, IsOneValueByHand) {
  // -log p with e = 0, gene by gene from factorials: theta = 3, one gene, so the mean is its own count.
  CsrBlock one;
  one.genes = 1, one.indptr = {0, 1}, one.indices = {0}, one.values = {4};
  double const probability = 15 * std::pow(3.0 / 7, 3) * std::pow(4.0 / 7, 4);  // binomial(4 + 3 - 1, 4) = 15
  EXPECT_NEAR(
      negative_binomial_loss(std::make_shared<CsrBlock const>(one), at::zeros({1, 1}), at::full({1}, std::log(3.0)))
          .item<double>(),
      -std::log(probability), 1e-6);
}

TEST(NegativeBinomialLoss, LargeCountsAndSmallDispersions) {
  at::manual_seed(4);
  auto const counts = some_counts(5, 200, 1e6);
  auto const logits = 5 * at::randn({5, 200});
  for (double const log_theta : {-30.0, -15.0, -5.0, 0.0, 5.0}) {
    SCOPED_TRACE(log_theta);
    expect_agreement(ours(counts, logits, at::full({200}, log_theta)),
                     formula(*counts, logits, at::full({200}, log_theta)), 2e-3,
                     1e-4);  // lgamma of a million: float32 has units of 1 there
  }
}

TEST(NegativeBinomialLoss, DispersionsThatAreAlmostPoisson) {
  // log(theta + mu) - log(theta) and digamma(x + theta) - digamma(theta) lose digits where theta is large, in any
  // float32.
  at::manual_seed(4);
  auto const counts = some_counts(5, 200, 20);
  auto const logits = at::randn({5, 200});
  expect_agreement(ours(counts, logits, at::full({200}, 8.0)), formula(*counts, logits, at::full({200}, 8.0)), 2e-3,
                   1e-2);
}

TEST(NegativeBinomialLoss, LogitsFarApart) {
  auto const counts = some_counts(4, 40, 20);
  auto const logits = at::zeros({4, 40});
  logits.select(1, 3).fill_(300);  // all other genes have a mean of nothing: their counts are worth log e
  auto const found = ours(counts, logits, at::ones({40}));
  EXPECT_TRUE(at::isfinite(found.loss).all().item<bool>());
  EXPECT_TRUE(at::isfinite(found.by_logits).all().item<bool>());
  expect_agreement(found, formula(*counts, logits, at::ones({40})), 1e-5, 1e-5);
}

TEST(NegativeBinomialLoss, ACellWithoutCountsCostsNothing) {
  auto const counts = some_counts(3, 50, 20);
  auto const found = ours(counts, at::randn({3, 50}), at::randn({3, 50}));
  EXPECT_NEAR(found.loss[2].item<double>(), 0, 1e-5);  // mean 0, count 0
  EXPECT_EQ(found.by_logits[2].abs().max().item<float>(), 0);
  EXPECT_LT(found.by_log_theta[2].abs().max().item<float>(), 1e-5);
}

TEST(NegativeBinomialLoss, ACellDependsOnItselfAlone) {
  at::manual_seed(5);
  auto const counts = some_counts(6, 301, 50);
  auto const logits = at::randn({6, 301}), shared = at::randn({301}), own = at::randn({6, 301});
  for (std::int64_t c = 0; c < 6; ++c) {
    auto const begin = counts->indptr[index(c)], end = counts->indptr[index(c) + 1];
    auto const alone = std::make_shared<CsrBlock>();
    alone->genes = 301, alone->indptr = {0, end - begin};
    alone->indices.assign(counts->indices.begin() + begin, counts->indices.begin() + end);
    alone->values.assign(counts->values.begin() + begin, counts->values.begin() + end);
    EXPECT_TRUE(at::equal(negative_binomial_loss(counts, logits, shared)[c],
                          negative_binomial_loss(alone, logits.narrow(0, c, 1), shared)[0]));
    EXPECT_TRUE(at::equal(negative_binomial_loss(counts, logits, own)[c],
                          negative_binomial_loss(alone, logits.narrow(0, c, 1), own.narrow(0, c, 1))[0]));
  }
}

TEST(NegativeBinomialLoss, RefusesOtherShapes) {
  auto const counts = some_counts(3, 10, 20);
  EXPECT_THROW(negative_binomial_loss(counts, at::zeros({3, 11}), at::zeros({11})), Failure);
  EXPECT_THROW(negative_binomial_loss(counts, at::zeros({2, 10}), at::zeros({10})), Failure);
  EXPECT_THROW(negative_binomial_loss(counts, at::zeros({3, 10}), at::zeros({1, 10})), Failure);
  EXPECT_THROW(negative_binomial_loss(counts, at::zeros({3, 10}), at::zeros({9})), Failure);
}

}  // namespace
}  // namespace retort
