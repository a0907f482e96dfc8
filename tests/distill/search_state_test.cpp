// What a checkpoint of a distillation holds comes back, the head whose gradients are matched with all its layers.
#include "retort/distill/search_state.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace retort {
namespace {

// A matching that goes on from its head.
struct WithHead final : Matching {
  explicit WithHead(Head start) : head(std::move(start)) {}
  void prepare(MatchingStep, SyntheticSet::Forward const&) override {}
  FeatureMatch match(Chunk const&, at::Tensor const&) const override { return {}; }
  double loss(at::Tensor const&, at::Tensor const&) const override { return 0; }
  std::map<std::string, at::Tensor> state() const override { return head_tensors(head); }
  void restore(std::map<std::string, at::Tensor> const& state) override { head = head_of_tensors(state); }
  Head head;
};

TEST(SearchState, ComesBackWithHeadsOfAnyDepth) {
  auto const ranks = Communicator::serial();
  Foundation foundation({.genes = 20, .hidden = {8}, .latent = 6}, 1);
  Variant const variant = decoder_variant(foundation);
  auto const chunks = plan_chunks(3, 2, 64, 1);
  at::manual_seed(71);
  auto const random_codes = [](RowRange rows) { return at::randn({rows.size(), 6}); };
  SyntheticSet const set(ranks, variant, foundation, chunks, {}, random_codes);
  for (std::vector<std::int64_t> const& hidden :
       {std::vector<std::int64_t>{}, std::vector<std::int64_t>{5}, std::vector<std::int64_t>{5, 4}}) {
    SearchState state{4, 1, 7, {{91, 90, 0.5, 0.03, 5, set.keep()}}, {{true, 0.03, 5}}, 80, "a set", "table"};
    WithHead const matching(initial_head(3, 6, 1, 2, hidden));
    auto const saved = checkpoint_of(state, set, matching, 12);
    SearchState back = search_state_of(saved);
    SyntheticSet other(ranks, variant, foundation, chunks, {}, random_codes);
    WithHead again({});
    restore_set(saved, back, other, again);
    EXPECT_EQ(back.set, 4);
    EXPECT_EQ(back.iteration, 7);
    EXPECT_EQ(back.best_set, "a set");
    auto const before = layers_of(matching.head), after = layers_of(again.head);
    ASSERT_EQ(before.size(), after.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
      EXPECT_TRUE(at::equal(before[i].weight, after[i].weight)) << i;
      EXPECT_TRUE(at::equal(before[i].bias, after[i].bias)) << i;
    }
    EXPECT_TRUE(at::equal(other.codes(), set.codes()));
    EXPECT_TRUE(at::equal(back.candidates.at(0).codes.at(0), state.candidates[0].codes[0]));
  }
  EXPECT_FALSE(head_of_tensors(checkpoint_of({}, set, WithHead({}), 0).tensors).weight.defined());
}

}  // namespace
}  // namespace retort
