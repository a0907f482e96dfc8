#include "retort/evaluate/protocol.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

using namespace retort;

namespace {

LabelledFeatures clouds(std::int64_t cells, std::int64_t classes, std::uint64_t seed) {
  at::manual_seed(1);
  auto const centres = at::randn({classes, 16});
  at::manual_seed(seed);
  auto const labels = at::randint(classes, {cells}, at::kLong);
  auto const features = centres.index_select(0, labels) + 1.5 * at::randn({cells, 16});
  return {features / features.norm(2, {1}, true), labels};
}

TEST(TrainAndScore, IsWhatEachHeadGivesOnItsOwnOnAnyNumberOfRanks) {
  auto const ranks = Communicator::world();
  auto const train = clouds(40, 5, 2), held_out = clouds(100, 5, 4);
  auto test = clouds(700, 5, 3);
  auto const there = test.labels.ne(4).nonzero().squeeze(1);  // class 4 has no test cells
  test = {test.features.index_select(0, there), test.labels.index_select(0, there)};
  HeadOptions options;
  options.epochs = 20;
  auto const scores = train_and_score(ranks, train, test, held_out, 5, 7, 100, options, 9);
  EXPECT_EQ(scores.test.size(), 7U);
  EXPECT_EQ(scores.held_out.size(), 7U);
  for (std::size_t head = 0; head < scores.test.size(); ++head) {
    auto const own = train_head(train.features, train.labels, 5, options, 9, 100 + head);
    auto const expected = score(predict(own, test.features, options), test.labels, 5);
    EXPECT_EQ(scores.test[head].accuracy, expected.accuracy);
    EXPECT_EQ(scores.test[head].macro_f1, expected.macro_f1);
    EXPECT_EQ(scores.held_out[head], score(predict(own, held_out.features, options), held_out.labels, 5).accuracy);
    for (std::size_t c = 0; c < 4; ++c) EXPECT_EQ(scores.test[head].recall[c], expected.recall[c]);
    EXPECT_TRUE(std::isnan(scores.test[head].recall[4]));
  }
  EXPECT_GT(scores.test[0].accuracy, 30);  // 25 by chance
  auto const first = train_head(train.features, train.labels, 5, options, 9, 100);
  EXPECT_EQ(scores.confusion, confusion_of(predict(first, test.features, options), test.labels, 5));
}

TEST(Confusion, CountsTruthByRowAndPredictionByColumn) {
  auto const truth = at::tensor({0, 0, 2, 2, 2}, at::kLong), predicted = at::tensor({0, 1, 2, 0, 2}, at::kLong);
  EXPECT_EQ(confusion_of(predicted, truth, 3), (std::vector<std::int64_t>{1, 1, 0, 0, 0, 0, 1, 0, 2}));
  EXPECT_EQ(confusion_of(at::empty({0}, at::kLong), at::empty({0}, at::kLong), 2),
            (std::vector<std::int64_t>{0, 0, 0, 0}));
}

TEST(TrainAndScore, HasNoHeldOutScoresWithoutSuchCells) {
  auto const set = clouds(20, 3, 2);
  HeadOptions options;
  options.epochs = 2;
  auto const scores = train_and_score(Communicator::world(), set, set, {at::empty({0, 16}), at::empty({0}, at::kLong)},
                                      3, 2, 0, options, 0);
  EXPECT_EQ(scores.test.size(), 2U);
  EXPECT_TRUE(scores.held_out.empty());
}

}  // namespace
