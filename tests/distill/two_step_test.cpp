// Two-step back-propagation through scDD's variant against one graph from codes to loss.
#include "retort/distill/two_step.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "retort/distill/class_matching.hpp"
#include "retort/distill/matching_parts.hpp"

namespace retort {
namespace {

constexpr std::int64_t classes = 3, spc = 4, latent = 16;

struct World {
  Scdg denoiser{{.latent = latent, .classes = classes, .hidden = {32, 24, 16}}, 1};
  Foundation foundation{{.genes = 60, .hidden = {40, 40}, .latent = latent}, 2};
  Variant variant;
  at::Tensor codes, by_features, by_cells;  // derivatives of losses that see the set as a whole
  ClassTarget target;

  World() {
    foundation.freeze();
    variant = scdd_variant(denoiser, foundation);
    at::manual_seed(9);
    codes = at::randn({classes * spc, latent});
    codes = codes / codes.norm(2, {1}, true);
    target = {at::randn({classes, latent}),
              {at::randn({classes, latent}), at::randn({classes})},
              {},
              GradientMetric::rows,
              4.0};
    by_features = at::randn({classes * spc, latent});
    by_cells = at::randn({classes * spc, foundation.shape().genes});
    target.expert_gradients =
        class_gradients(at::randn({classes * 9, latent}), 0, classes, target.head.weight, target.head.bias);
  }
  ChunkMatch matcher(MatchingParts const& parts) const {
    ClassTarget chosen = target;
    if (!parts.means) chosen.means = at::Tensor();
    if (!parts.gradients) chosen.expert_gradients = at::Tensor();
    return [this, parts, chosen](Chunk const& chunk, at::Tensor const& features) {
      auto const own = [&](at::Tensor const& of_set) { return of_set.narrow(0, chunk.rows.begin, chunk.rows.size()); };
      FeatureMatch const of_set{at::zeros({chunk.classes}), parts.head ? own(by_features) : at::Tensor(),
                                parts.genes ? own(by_cells) : at::Tensor()};
      return sum_of(match_classes(chosen, features, chunk.first_class, chunk.classes), of_set);
    };
  }
  // Codes to loss in one graph, with the double back-propagation that the closed form replaces.
  at::Tensor one_shot(MatchingParts const& matching) {
    at::Tensor const leaf = codes.clone().requires_grad_(true);
    at::Tensor const cells = variant.cells(leaf, at::arange(classes * spc, at::kLong).div_(spc, "floor")),
                     features = foundation.encode(cells);
    at::Tensor loss = at::zeros({});
    if (matching.head) loss = loss + (features * by_features).sum();
    if (matching.genes) loss = loss + (cells * by_cells).sum();
    for (std::int64_t c = 0; c < classes; ++c) {
      at::Tensor const own = features.narrow(0, c * spc, spc);
      if (matching.means) loss = loss + (own.mean(0) - target.means[c]).norm();
      if (!matching.gradients) continue;
      at::Tensor const weight = target.head.weight.clone().requires_grad_(true);
      at::Tensor const entropy = at::cross_entropy_loss(
          at::linear(own * target.feature_scale, weight, target.head.bias), at::full({spc}, c, at::kLong));
      at::Tensor const u = torch::autograd::grad({entropy}, {weight}, {}, true, true)[0],
                       r = target.expert_gradients[c].narrow(1, 0, latent);
      loss = loss + (1 - (u * r).sum(1) / (u.norm(2, 1) * r.norm(2, 1) + 1e-6)).sum();
    }
    loss.backward();
    return leaf.grad();
  }
};

double relative(at::Tensor const& a, at::Tensor const& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

TEST(TwoStep, EqualsOneShot) {
  World world;
  auto const whole = plan_chunks(classes, spc, 64, 1);
  ASSERT_EQ(whole.size(), 1U);
  for (auto const* name : {"dm", "dc", "dm+dc", "head", "genes", "head+genes"}) {
    MatchingParts const matching = matching_parts(name);
    auto const ours =
        two_step_gradient(world.variant, world.foundation, whole[0], world.codes, world.matcher(matching));
    EXPECT_LT(relative(ours.gradient, world.one_shot(matching)), 1e-4) << name;
  }
}

TEST(TwoStep, ChunksAndPiecesEqualTheWhole) {
  World world;
  for (auto const* name : {"dm+dc", "head+genes"}) {
    auto const matcher = world.matcher(matching_parts(name));
    auto const whole =
        two_step_gradient(world.variant, world.foundation, plan_chunks(classes, spc, 64, 1)[0], world.codes, matcher);
    for (std::int64_t chunk_cells : {8, 4, 3, 1}) {  // two classes, one class, parts of a class, single rows
      std::vector<at::Tensor> gradients, losses;
      for (auto const& chunk : plan_chunks(classes, spc, chunk_cells, 1)) {
        auto const part = two_step_gradient(world.variant, world.foundation, chunk,
                                            world.codes.narrow(0, chunk.rows.begin, chunk.rows.size()), matcher);
        gradients.push_back(part.gradient);
        losses.push_back(part.losses);
      }
      EXPECT_LT(relative(at::cat(gradients), whole.gradient), 1e-4) << name << chunk_cells;
      EXPECT_TRUE(at::allclose(at::cat(losses), whole.losses, 1e-5, 1e-6)) << name << chunk_cells;
    }
  }
}

TEST(ScddVariant, MakesCells) {
  World world;
  at::Tensor const cells = world.variant.cells(world.codes, at::zeros({classes * spc}, at::kLong));
  EXPECT_GE(cells.min().item<float>(), 0.0F);
  EXPECT_NEAR(cells.to(at::kDouble).expm1().sum(1).sub(1e4).abs().max().item<double>(), 0, 0.1);
  // The class is told to the denoiser.
  EXPECT_FALSE(at::allclose(cells, world.variant.cells(world.codes, at::ones({classes * spc}, at::kLong))));
  // As the formula says: D(normalise(U(scale Z, t = 1, class))).
  at::Tensor const ones = at::ones({classes * spc}, at::kLong);
  at::Tensor const latents = world.denoiser.denoise(world.codes * 4.0, ones, ones);
  at::Tensor const counts = at::relu(world.foundation.decode(latents / latents.norm(2, {1}, true))).expm1();
  EXPECT_TRUE(
      at::allclose(world.variant.cells(world.codes, ones), at::log1p(counts * 1e4 / counts.sum(1, true)), 1e-4, 1e-4));
}

}  // namespace
}  // namespace retort
