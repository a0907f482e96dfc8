#include "retort/distill/scoring.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "retort/distill/options.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

Candidate candidate(double accuracy, double loss) { return {accuracy, accuracy, loss, 0.1, 10, {}}; }

// 400 held-out cells at 90 %: one standard error is 1.5 points.
TEST(BestCandidate, TakesTheLowestLossWithinOneStandardError) {
  EXPECT_EQ(best_candidate({candidate(90, 3), candidate(89, 1), candidate(88, 0.1)}, 400), 1U);
  EXPECT_EQ(best_candidate({candidate(90, 3), candidate(89, 4), candidate(88, 0.1)}, 400), 0U);
  EXPECT_EQ(best_candidate({candidate(90, 3), candidate(89, 1), candidate(88, 0.1)}, 40), 2U)
      << "few cells tell less apart";
  EXPECT_EQ(best_candidate({candidate(88, 0.1), candidate(90, 3)}, 400), 1U) << "order decides nothing";
  EXPECT_EQ(best_candidate({candidate(100, 2), candidate(99.9, 1)}, 100000), 0U);
}

TEST(ScoreSteps, RiseAndEndWithTheLastIteration) {
  DistillOptions options;
  options.score_steps = {30, 0, 10, 30, 500, -1};
  options.iterations = 100;
  EXPECT_EQ(score_steps_of(options), (std::vector<std::int64_t>{0, 10, 30, 100}));
  options.iterations = 0;
  EXPECT_EQ(score_steps_of(options), (std::vector<std::int64_t>{0}));
}

TEST(InnerLoop, IsThatOfDcUnlessSet) {
  DistillOptions options;
  for (auto const& [spc, outer, inner] : {std::tuple{1, 1, 1},
                                          {2, 2, 50},
                                          {5, 5, 50},
                                          {10, 10, 50},
                                          {20, 20, 25},
                                          {30, 30, 20},
                                          {40, 40, 15},
                                          {50, 50, 10},
                                          {80, 50, 10}}) {
    auto const loop = inner_loop(options, spc);
    EXPECT_EQ(loop.outer_steps, outer) << spc;
    EXPECT_EQ(loop.inner_epochs, inner) << spc;
  }
  options.outer_steps = 7;
  EXPECT_EQ(inner_loop(options, 10).outer_steps, 7);
  EXPECT_EQ(inner_loop(options, 10).inner_epochs, 50);
}

TEST(CheckDistillOptions, RefusesWhatCannotBeMeant) {
  auto const refused = [](auto change) {
    DistillOptions options;
    HeadOptions head;
    if constexpr (requires { change(options, head); })
      change(options, head);
    else
      change(options);
    try {
      check_distill_options(options, head);
    } catch (Failure const& failure) {
      return failure.code == ExitCode::usage;
    }
    return false;
  };
  EXPECT_FALSE(refused([](auto&) {}));
  EXPECT_TRUE(refused([](auto& o) { o.spc = {0}; }));
  EXPECT_TRUE(refused([](auto& o) { o.rates = {0.1, -1}; }));
  EXPECT_TRUE(refused([](auto& o) { o.rates = {}; }));
  EXPECT_TRUE(refused([](auto& o) { o.variants = {"scddd"}; }));
  EXPECT_TRUE(refused([](auto& o) { o.matchings = {"md"}; }));
  EXPECT_TRUE(refused([](auto& o) { o.optimiser = "lion"; }));
  EXPECT_TRUE(refused([](auto& o) { o.metric = "l2"; }));
  EXPECT_TRUE(refused([](auto& o) { o.draws = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.heads = "both"; }));
  EXPECT_TRUE(refused([](auto& o) { o.encoder = "thawed"; }));
  EXPECT_FALSE(refused([](auto& o) { o.encoder = "unfrozen"; }));
  EXPECT_TRUE(refused([](auto& o) { o.encoder = "unfrozen", o.metric = "flat"; }));
  EXPECT_TRUE(refused([](auto& o) { o.encoder = "unfrozen", o.heads = "student_expert"; }));
  EXPECT_TRUE(refused([](auto& o) { o.encoder = "unfrozen", o.variants = {"features"}, o.matchings = {"dc"}; }));
  EXPECT_TRUE(refused([](auto&, HeadOptions& head) { head.hidden = {128}; }));  // the default matchings have head
  EXPECT_FALSE(refused([](auto& o, HeadOptions& head) { head.hidden = {128}, o.matchings = {"dm", "dc"}; }));
  EXPECT_TRUE(refused([](auto& o, HeadOptions& head) { head.hidden = {128, 0}, o.matchings = {"dc"}; }));
}

}  // namespace
}  // namespace retort
