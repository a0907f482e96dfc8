// A set under distillation: the same bits on any number of ranks, a falling loss, and nothing else that moves.
#include "retort/distill/synthetic_set.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "retort/distill/class_matching.hpp"

namespace retort {
namespace {

constexpr std::int64_t classes = 7, spc = 3, latent = 16;

struct World {
  Scdg denoiser{{.latent = latent, .classes = classes, .hidden = {32, 24, 16}}, 1};
  Foundation foundation{{.genes = 60, .hidden = {40, 40}, .latent = latent}, 2};
  Variant scdd, cells = cell_variant();
  at::Tensor means, start_latents, start_cells;
  ClassTarget target;

  World() {
    foundation.freeze();
    scdd = scdd_variant(denoiser, foundation);
    at::manual_seed(9);
    start_latents = at::randn({classes * spc, latent});
    start_latents = start_latents / start_latents.norm(2, {1}, true);
    start_cells = at::randn({classes * spc, 60}).clamp_min_(0);
    at::Tensor const goal = foundation.encode(scdd.cells(at::randn({classes, latent}), at::arange(classes, at::kLong)));
    target.means = goal;
    target.head.weight = at::randn({classes, latent});
    target.head.bias = at::randn({classes});
    target.feature_scale = 4;
    target.expert_gradients =
        class_gradients(at::randn({classes * 9, latent}), 0, classes, target.head.weight, target.head.bias);
  }
  SyntheticSet start(Communicator const& ranks, Variant const& variant, std::vector<Chunk> const& chunks,
                     CodeOptimiser optimiser) {
    at::Tensor const& codes = variant.start == Variant::Start::latents ? start_latents : start_cells;
    return {ranks,  variant,   foundation,
            chunks, optimiser, [&](RowRange rows) { return codes.narrow(0, rows.begin, rows.size()).clone(); }};
  }
  // Class means and gradients, or the means alone.
  ClassTarget target_of(std::string const& name) const {
    ClassTarget chosen = target;
    if (name == "dm") chosen.expert_gradients = at::Tensor();
    return chosen;
  }
  ChunkMatch matcher(std::string const& name) const {
    return [chosen = target_of(name)](Chunk const& chunk, at::Tensor const& features) {
      return match_classes(chosen, features, chunk.first_class, chunk.classes);
    };
  }
};

double loss_of(World const& world, SyntheticSet const& set) {
  ClassTarget const means = world.target_of("dm");
  return class_loss(std::span(&means, 1), set.features());
}

TEST(SyntheticSet, SameBitsOnAnyNumberOfRanks) {
  World world;
  auto const ranks = Communicator::world(), alone = Communicator::serial();
  auto const chunks = plan_chunks(classes, spc, 6, ranks.size()), chunks_alone = plan_chunks(classes, spc, 6, 1);
  for (auto const* variant : {&world.scdd, &world.cells}) {
    for (bool const adam : {true, false}) {
      CodeOptimiser const optimiser{adam, 0.5, variant->codes_stay_positive, variant == &world.scdd};
      SyntheticSet ours = world.start(ranks, *variant, chunks, optimiser),
                   theirs = world.start(alone, *variant, chunks_alone, optimiser);
      for (int step = 0; step < 5; ++step) {
        ours.step(world.matcher("dm+dc"), 0.01);
        if (step % 2) {  // a forward pass before a step changes nothing, and gives the set as it is
          auto const made = theirs.forward(true);
          EXPECT_TRUE(at::equal(made.features, theirs.features()));
          EXPECT_TRUE(at::equal(made.cells, theirs.cells()));
        }
        theirs.step(world.matcher("dm+dc"), 0.01);
      }
      at::Tensor const our_codes = ours.codes(), our_cells = ours.cells(), our_features = ours.features();
      EXPECT_TRUE(at::equal(our_codes, theirs.codes()));
      EXPECT_TRUE(at::equal(our_cells, theirs.cells()));
      EXPECT_TRUE(at::equal(our_features, theirs.features()));
      EXPECT_EQ(our_codes.sizes(), (variant == &world.scdd ? world.start_latents : world.start_cells).sizes());
    }
  }
}

// What a checkpoint holds is enough to go on to the same bits, on any number of ranks.
TEST(SyntheticSet, GoesOnFromItsState) {
  World world;
  auto const ranks = Communicator::world(), alone = Communicator::serial();
  auto const chunks = plan_chunks(classes, spc, 6, ranks.size()), chunks_alone = plan_chunks(classes, spc, 6, 1);
  for (bool const adam : {true, false}) {
    CodeOptimiser const optimiser{adam, 0.5, false, false};
    SyntheticSet uncut = world.start(alone, world.scdd, chunks_alone, optimiser),
                 cut = world.start(alone, world.scdd, chunks_alone, optimiser);
    SyntheticSet again = world.start(ranks, world.scdd, chunks, optimiser);
    for (int step = 0; step < 6; ++step) {
      uncut.step(world.matcher("dm+dc"), 0.01);
      if (step < 3) cut.step(world.matcher("dm+dc"), 0.01);
    }
    again.restore(cut.state());
    EXPECT_TRUE(at::equal(again.codes(), cut.codes()));
    EXPECT_FALSE(at::equal(again.codes(), uncut.codes()));
    for (int step = 3; step < 6; ++step) again.step(world.matcher("dm+dc"), 0.01);
    EXPECT_TRUE(at::equal(again.codes(), uncut.codes())) << adam;
    at::Tensor const whole = again.whole(again.keep());
    again.put_back(again.own_part(cut.codes()));
    EXPECT_TRUE(at::equal(again.codes(), cut.codes()));
    again.put_back(again.own_part(whole));
    EXPECT_TRUE(at::equal(again.codes(), uncut.codes()));
  }
}

TEST(SyntheticSet, OnlyCodesMoveAndTheLossFalls) {
  World world;
  auto const ranks = Communicator::world();
  auto const chunks = plan_chunks(classes, spc, 6, ranks.size());
  std::string const foundation_before = world.foundation.weights_hash();
  std::vector<at::Tensor> denoiser_before;
  for (auto const& parameter : world.denoiser.parameters()) denoiser_before.push_back(parameter.clone());
  for (auto const* variant : {&world.scdd, &world.cells}) {
    SyntheticSet set = world.start(ranks, *variant, chunks, {true, 0.5, variant->codes_stay_positive, false});
    double const first = loss_of(world, set);
    at::Tensor const before = set.codes();
    set.step(world.matcher("dm"), 0.02);
    auto const kept = set.keep();
    at::Tensor const at_one = set.codes();
    for (int step = 0; step < 60; ++step) set.step(world.matcher("dm"), 0.02);
    EXPECT_LT(loss_of(world, set), 0.7 * first) << (variant == &world.cells ? "cells" : "scdd");
    EXPECT_FALSE(at::equal(set.codes(), before));
    EXPECT_TRUE(!variant->codes_stay_positive || set.codes().min().item<float>() >= 0.0F);
    at::Tensor const cells = set.cells();
    EXPECT_GE(cells.min().item<float>(), 0.0F);
    EXPECT_NEAR(cells.to(at::kDouble).expm1().sum(1).sub(1e4).abs().max().item<double>(), 0, 0.1);
    set.put_back(kept);
    EXPECT_TRUE(at::equal(set.codes(), at_one));
  }
  EXPECT_EQ(world.foundation.weights_hash(), foundation_before);
  for (std::size_t i = 0; i < denoiser_before.size(); ++i) {
    EXPECT_TRUE(at::equal(world.denoiser.parameters()[i], denoiser_before[i]));
    EXPECT_FALSE(world.denoiser.parameters()[i].grad().defined());
  }
}

}  // namespace
}  // namespace retort
