// What a checkpoint of a distillation holds comes back, the head whose gradients are matched with all its layers.
#include "retort/distill/search_state.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace retort {
namespace {

TEST(SearchState, ComesBackWithHeadsOfAnyDepth) {
  auto const ranks = Communicator::serial();
  Foundation foundation({.genes = 20, .hidden = {8}, .latent = 6}, 1);
  Generator const generator = decoder_generator(foundation);
  auto const chunks = plan_chunks(3, 2, 64, 1);
  at::manual_seed(71);
  auto const random_codes = [](RowRange rows) { return at::randn({rows.size(), 6}); };
  SyntheticSet const set(ranks, generator, foundation, chunks, {}, random_codes);
  for (std::vector<std::int64_t> const& hidden :
       {std::vector<std::int64_t>{}, std::vector<std::int64_t>{5}, std::vector<std::int64_t>{5, 4}}) {
    SearchState state{
        4,  1,       7,      {{91, 90, 0.5, 0.03, 5, set.keep()}}, initial_head(3, 6, 1, 2, hidden), {{true, 0.03, 5}},
        80, "a set", "table"};
    auto const saved = checkpoint_of(state, set, 12);
    SearchState back = search_state_of(saved);
    SyntheticSet other(ranks, generator, foundation, chunks, {}, random_codes);
    restore_set(saved, back, other);
    EXPECT_EQ(back.set, 4);
    EXPECT_EQ(back.iteration, 7);
    EXPECT_EQ(back.best_set, "a set");
    auto const before = layers_of(state.head), after = layers_of(back.head);
    ASSERT_EQ(before.size(), after.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
      EXPECT_TRUE(at::equal(before[i].weight, after[i].weight)) << i;
      EXPECT_TRUE(at::equal(before[i].bias, after[i].bias)) << i;
    }
    EXPECT_TRUE(at::equal(other.codes(), set.codes()));
    EXPECT_TRUE(at::equal(back.candidates.at(0).codes.at(0), state.candidates[0].codes[0]));
  }
  SearchState const without{0, 0, 0, {}, {}, {}, -1, "", ""};
  EXPECT_FALSE(search_state_of(checkpoint_of(without, set, 0)).head.weight.defined());
}

}  // namespace
}  // namespace retort
