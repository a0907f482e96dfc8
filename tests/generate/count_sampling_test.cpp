// Drawn counts have the negative binomial's moments, and a cell's are its own.
#include "retort/generate/count_sampling.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "../shared_folder.hpp"

#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::uint64_t seed = 17;

GenePrediction some_prediction(std::int64_t cells, std::int64_t genes) {
  at::manual_seed(3);
  return {at::randn({cells, genes}), at::randn({cells, genes})};
}

TEST(SampleCounts, MeanAndVariance) {
  // Many cells that are all the same: means from 0.05 to 2500 and inverse dispersions from 0.05 to 1e5.
  constexpr std::int64_t cells = 40'000;
  at::Tensor const mean = at::tensor({0.05, 1.0, 5.0, 5.0, 30.0, 2500.0, 40.0}, at::kDouble),
                   theta = at::tensor({0.5, 0.05, 2.0, 1e5, 0.3, 10.0, 1.0}, at::kDouble);
  double const library = mean.sum().item<double>();
  std::vector<double> const libraries(cells, library);
  at::Tensor const logits = (mean / library).log().to(at::kFloat).expand({cells, 7}).contiguous();
  for (bool const own : {false, true}) {
    at::Tensor const log_theta = theta.log().to(at::kFloat);
    at::Tensor const counts =
        sample_counts({logits, own ? log_theta.expand({cells, 7}).contiguous() : log_theta}, libraries, seed, 0)
            .to(at::kDouble);
    EXPECT_TRUE(at::equal(counts, counts.round()));
    EXPECT_GE(counts.min().item<double>(), 0);
    at::Tensor const variance = mean + mean.square() / theta, centred = counts - mean;
    // Five deviations of the mean, and of the variance by the fourth moments that were drawn.
    at::Tensor const mean_error = (counts.mean(0) - mean).abs() / (variance / cells).sqrt();
    at::Tensor const variance_error = (centred.square().mean(0) - variance).abs() /
                                      ((centred.pow(4).mean(0) - centred.square().mean(0).square()) / cells).sqrt();
    EXPECT_LT(mean_error.max().item<double>(), 5) << mean_error;
    EXPECT_LT(variance_error.max().item<double>(), 5) << variance_error;
    // Genes are drawn each by themselves.
    at::Tensor const correlations = at::corrcoef(counts.t()) - at::eye(7, at::kDouble);
    EXPECT_LT(correlations.abs().max().item<double>(), 0.05);
  }
}

TEST(SampleCounts, SharesOfZero) {
  // The negative binomial's chance of no count: (theta / (theta + mu))^theta.
  constexpr std::int64_t cells = 20'000;
  at::Tensor const counts = sample_counts({at::zeros({cells, 2}), at::tensor({std::log(0.4F), std::log(3.0F)})},
                                          std::vector<double>(cells, 4.0), seed, 0);
  for (std::int64_t g = 0; g < 2; ++g) {
    double const theta = g ? 3 : 0.4;
    EXPECT_NEAR(counts.select(1, g).eq(0).to(at::kDouble).mean().item<double>(), std::pow(theta / (theta + 2), theta),
                0.015);
  }
}

TEST(SampleCounts, ACellIsTheSameInAnyBlock) {
  auto const all = some_prediction(9, 30);
  std::vector<double> libraries;
  for (int i = 0; i < 9; ++i) libraries.push_back(100 + 50 * i);
  auto const sampled = [&](std::int64_t first, std::int64_t count) {
    return sample_counts({all.logits.narrow(0, first, count), all.log_theta.narrow(0, first, count)},
                         std::span(libraries).subspan(index(first), index(count)), seed, 1000 + first);
  };
  at::Tensor const whole = sampled(0, 9);
  EXPECT_TRUE(at::equal(whole, at::cat({sampled(0, 1), sampled(1, 5), sampled(6, 3)})));
  EXPECT_TRUE(at::equal(whole, sampled(0, 9)));
  EXPECT_FALSE(at::equal(whole, sample_counts(all, libraries, seed + 1, 1000)));
  EXPECT_FALSE(at::equal(whole, sample_counts(all, libraries, seed, 1001)));
  // Two cells of the same prediction are two draws.
  GenePrediction const same{all.logits.narrow(0, 0, 1).expand({2, 30}), all.log_theta.narrow(0, 0, 1).expand({2, 30})};
  at::Tensor const twins = sample_counts(same, std::vector<double>{500, 500}, seed, 0);
  EXPECT_FALSE(at::equal(twins[0], twins[1]));
}

TEST(SampleCounts, ExtremeCells) {
  auto const prediction = some_prediction(3, 20);
  at::Tensor const counts = sample_counts(prediction, std::vector<double>{0, 1000, 1e12}, seed, 0);
  EXPECT_EQ(counts[0].abs().max().item<float>(), 0);  // a library of nothing
  EXPECT_GT(counts[1].sum().item<float>(), 0);
  EXPECT_TRUE(at::isfinite(counts).all().item<bool>());
  EXPECT_LT(counts.max().item<float>(), 1.1e9F);
  // A gene that has nearly no dispersion is nearly always zero, and one of nearly none of the library, too.
  EXPECT_EQ(sample_counts({at::zeros({1, 20}), at::full({20}, -60.0)}, std::vector<double>{1000}, seed, 0)
                .abs()
                .max()
                .item<float>(),
            0);
  // One without end leaves Poisson's counts; what is no number is no count.
  at::Tensor const poisson =
      sample_counts({at::zeros({400, 20}), at::full({20}, 200.0)}, std::vector<double>(400, 100), seed, 0);
  EXPECT_NEAR(poisson.mean().item<double>(), 5, 0.15);
  EXPECT_NEAR(poisson.var().item<double>(), 5, 0.4);
  for (auto const& [logit, log_theta] : {std::pair{std::nan(""), 1.0}, {0.0, std::nan("")}})
    EXPECT_NE(
        failure_of(
            ExitCode::failed,
            [&] {
              sample_counts({at::full({1, 20}, logit), at::full({20}, log_theta)}, std::vector<double>{1000}, seed, 7);
            })
            .find("cell 7: the autoencoder predicts"),
        std::string::npos);
  at::Tensor const far = at::zeros({1, 20});
  far[0][4] = 500;
  at::Tensor const one_gene = sample_counts({far, at::ones({20})}, std::vector<double>{1000}, seed, 0);
  EXPECT_EQ(one_gene.sum().item<float>(), one_gene[0][4].item<float>());
  EXPECT_GT(one_gene.sum().item<float>(), 0);
}

TEST(SampleExpression, IsTheMeanAndUnitNoise) {
  at::Tensor const mean = at::linspace(-2, 4, 5).expand({20'000, 5}).contiguous();
  at::Tensor const noise = sample_expression({mean, {}}, seed, 3) - mean;
  EXPECT_LT(noise.mean(0).abs().max().item<float>(), 0.04);
  EXPECT_LT((noise.std(0) - 1).abs().max().item<float>(), 0.03);
  EXPECT_TRUE(at::equal(sample_expression({mean.narrow(0, 10, 4), {}}, seed, 13),
                        sample_expression({mean, {}}, seed, 3).narrow(0, 10, 4)));
}

}  // namespace
}  // namespace retort
