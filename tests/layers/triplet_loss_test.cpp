// triplet_loss against triplets enumerated in plain loops with autograd's distances, and against finite differences.
#include "retort/layers/triplet_loss.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <set>

#include "retort/run/error.hpp"

using namespace retort;

namespace {

constexpr double margin = 0.2;
std::vector<std::int32_t> const labels{0, 1, 0, 2, 1, 0, 1, 1, 3, 0, 2};

at::Tensor unit_points(std::uint64_t seed) {
  torch::manual_seed(seed);
  return torch::nn::functional::normalize(torch::randn({static_cast<std::int64_t>(labels.size()), 19}));
}

double squared(at::Tensor const& z, std::size_t a, std::size_t b) {
  return (z[static_cast<std::int64_t>(a)] - z[static_cast<std::int64_t>(b)])
      .to(at::kDouble)
      .square()
      .sum()
      .item<double>();
}

at::Tensor loss_of(at::Tensor const& z, std::size_t a, std::size_t p, std::size_t n) {
  auto const row = [&](std::size_t i) { return z[static_cast<std::int64_t>(i)]; };
  return torch::relu((row(a) - row(p)).norm() - (row(a) - row(n)).norm() + margin);
}

void expect_same(at::Tensor const& z, TripletLoss const& got, at::Tensor const& expected, std::int64_t triplets) {
  EXPECT_EQ(got.triplets, triplets);
  EXPECT_NEAR(got.loss.item<double>(), expected.item<double>(), 1e-6);
  auto const gradient = torch::autograd::grad({got.loss}, {z})[0],
             expected_gradient = torch::autograd::grad({expected}, {z})[0];
  EXPECT_GT(expected_gradient.abs().max().item<double>(), 1e-3);
  EXPECT_LT((gradient - expected_gradient).abs().max().item<double>(), 1e-6);
}

}  // namespace

TEST(TripletLoss, BatchHardIsTheBruteForce) {
  auto const z = unit_points(1).requires_grad_();
  std::vector<at::Tensor> losses;
  for (std::size_t a = 0; a < labels.size(); ++a) {
    std::optional<std::size_t> far, near;
    for (std::size_t b = 0; b < labels.size(); ++b) {
      if (b != a && labels[a] == labels[b] && (!far || squared(z, a, b) > squared(z, a, *far))) far = b;
      if (labels[a] != labels[b] && (!near || squared(z, a, b) < squared(z, a, *near))) near = b;
    }
    if (far && near) losses.push_back(loss_of(z, a, *far, *near));
  }
  EXPECT_EQ(losses.size(), 10u);  // the lone cell of label 3 has no positive
  expect_same(z, triplet_loss(z, labels, Mining::batch_hard, margin, Random(1, purpose::triplet)),
              torch::stack(losses).mean(), 10);
}

TEST(TripletLoss, AllIsTheBruteForce) {
  auto const z = unit_points(2).requires_grad_();
  std::vector<at::Tensor> losses;
  for (std::size_t a = 0; a < labels.size(); ++a) {
    for (std::size_t p = 0; p < labels.size(); ++p) {
      for (std::size_t n = 0; n < labels.size(); ++n) {
        if (a == p || labels[a] != labels[p] || labels[a] == labels[n]) continue;
        auto const loss = loss_of(z, a, p, n);
        if (loss.item<double>() > 0) losses.push_back(loss);
      }
    }
  }
  expect_same(z, triplet_loss(z, labels, Mining::all, margin, Random(1, purpose::triplet)), torch::stack(losses).mean(),
              static_cast<std::int64_t>(losses.size()));
}

TEST(TripletLoss, SemiHardDrawsAllowedNegativesAlike) {
  auto const z = unit_points(3);
  std::int64_t pairs = 0;
  double mean_of_candidates = 0;  // expectation of the loss when each pair draws one candidate uniformly
  for (std::size_t a = 0; a < labels.size(); ++a) {
    for (std::size_t p = 0; p < labels.size(); ++p) {
      if (a == p || labels[a] != labels[p]) continue;
      double sum = 0;
      int count = 0;
      for (std::size_t n = 0; n < labels.size(); ++n) {
        double const gap = squared(z, a, p) - squared(z, a, n) + margin;
        if (labels[a] == labels[n] || gap <= 0 || gap >= margin) continue;
        sum += loss_of(z, a, p, n).item<double>();
        ++count;
      }
      if (count) {
        ++pairs;
        mean_of_candidates += sum / count;
      }
    }
  }
  ASSERT_GT(pairs, 5);
  mean_of_candidates /= static_cast<double>(pairs);
  double mean = 0;
  std::set<float> values;
  constexpr int draws = 2000;
  for (int i = 0; i < draws; ++i) {
    auto const got =
        triplet_loss(z, labels, Mining::semi_hard, margin, Random(7, purpose::triplet, static_cast<std::uint64_t>(i)));
    EXPECT_EQ(got.triplets, pairs);
    mean += got.loss.item<double>() / draws;
    values.insert(got.loss.item<float>());
  }
  EXPECT_NEAR(mean, mean_of_candidates, 0.02 * mean_of_candidates);
  EXPECT_GT(values.size(), 3u);
  auto const again = [&] {
    return triplet_loss(z, labels, Mining::semi_hard, margin, Random(7, purpose::triplet, 5)).loss.item<float>();
  };
  EXPECT_EQ(again(), again());
}

TEST(TripletLoss, FollowsFiniteDifferences) {
  for (auto const mining : {Mining::batch_hard, Mining::all}) {  // semi_hard jumps where a candidate comes or goes
    auto const z = unit_points(4).requires_grad_();
    Random const draw(1, purpose::triplet);
    auto const gradient = torch::autograd::grad({triplet_loss(z, labels, mining, margin, draw).loss}, {z})[0];
    torch::NoGradGuard no_grad;
    auto const direction = gradient / gradient.norm();
    constexpr double step = 2e-3;
    auto const value = [&](double s) {
      return triplet_loss(z + s * direction, labels, mining, margin, draw).loss.item<double>();
    };
    EXPECT_NEAR((value(step) - value(-step)) / (2 * step), gradient.norm().item<double>(),
                0.02 * gradient.norm().item<double>());
  }
}

TEST(TripletLoss, OneLabelOrNoPairGivesZero) {
  auto const z = torch::nn::functional::normalize(torch::randn({4, 8})).requires_grad_();
  for (std::vector<std::int32_t> const& same :
       {std::vector<std::int32_t>{1, 1, 1, 1}, std::vector<std::int32_t>{0, 1, 2, 3}}) {
    auto const got = triplet_loss(z, same, Mining::batch_hard, margin, Random(1, purpose::triplet));
    EXPECT_EQ(got.triplets, 0);
    EXPECT_EQ(got.loss.item<double>(), 0);
    EXPECT_EQ(torch::autograd::grad({got.loss}, {z})[0].abs().max().item<double>(), 0);
  }
}

TEST(TripletLoss, EqualPointsGiveNoNaN) {
  auto const z = torch::ones({4, 8}).requires_grad_();
  auto const got =
      triplet_loss(z, std::vector<std::int32_t>{0, 0, 1, 1}, Mining::batch_hard, margin, Random(1, purpose::triplet));
  EXPECT_NEAR(got.loss.item<double>(), margin, 1e-6);
  EXPECT_TRUE(torch::isfinite(torch::autograd::grad({got.loss}, {z})[0]).all().item<bool>());
}

TEST(Mining, IsNamed) {
  EXPECT_EQ(parse_mining("semi_hard"), Mining::semi_hard);
  EXPECT_THROW(parse_mining("hardest"), Failure);
}
