// Neighbours against scikit-learn; copies, ties and borders by their definitions.
#include "retort/fidelity/neighbours.hpp"

#include <gtest/gtest.h>

#include "../numpy_verdict.hpp"

namespace retort {
namespace {

at::Tensor normal(std::int64_t rows, std::int64_t width, std::uint64_t seed) {
  at::manual_seed(seed);
  return at::randn({rows, width}, at::kDouble);
}

TEST(Neighbours, AgreeWithScikitLearn) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  at::Tensor const x = normal(300, 4, 1), y = normal(280, 4, 2) * 0.8 + 0.4;  // more than a block of rows
  auto const accuracy = nearest_neighbour_accuracy(x, y);
  auto const l2 = precision_and_recall(x, y), l1 = precision_and_recall(x, y, 5, Balls::open_l1);
  EXPECT_TRUE(
      numpy_agrees("neighbours",
                   {{"x", x},
                    {"y", y},
                    {"accuracy", at::tensor({accuracy.overall, accuracy.of_real, accuracy.of_generated}, at::kDouble)},
                    {"l2", at::tensor({l2.precision, l2.recall}, at::kDouble)},
                    {"l1", at::tensor({l1.precision, l1.recall}, at::kDouble)}},
                   R"py(
from sklearn.neighbors import NearestNeighbors
from sklearn.metrics import pairwise_distances
x, y = c['x'], c['y']; z = np.r_[x, y]; real = np.arange(len(z)) < len(x)
# kneighbors() leaves a point itself out
own = real[NearestNeighbors(n_neighbors=1).fit(z).kneighbors()[1][:, 0]] == real
near(c['accuracy'], [own.mean(), own[real].mean(), own[~real].mean()])
def overlap(k, metric):
    r, g = (NearestNeighbors(n_neighbors=k, metric=metric).fit(s).kneighbors()[0][:, -1] for s in (x, y))
    d = pairwise_distances(x, y, metric=metric)
    return (d <= r[:, None]).any(0).mean(), (d <= g).any(1).mean()
near(c['l2'], overlap(3, 'euclidean')); near(c['l1'], overlap(5, 'manhattan'))
assert .1 < c['l2'][1] < .99 and c['l2'][0] != c['l1'][0]
)py"));
}

TEST(Neighbours, OfCopiesAreOfTheOtherSet) {
  at::Tensor const x = normal(50, 3, 3);
  EXPECT_EQ(nearest_neighbour_accuracy(x, x.flip(0)).overall, 0);
  auto const alike = nearest_neighbour_accuracy(at::zeros({10, 3}), at::zeros({10, 3}));
  EXPECT_NEAR(alike.overall, 9.0 / 19, 1e-12);  // all are equally near
  EXPECT_EQ(nearest_neighbour_accuracy(x, x + 100).overall, 1);
  EXPECT_EQ(nearest_neighbour_accuracy(x.narrow(0, 0, 1), x.narrow(0, 1, 1)).overall,
            0);  // the only other cell is not of the own set
  // Twice a cell here, once there: the ones here are as near to each other as to the copy.
  at::Tensor const twice = at::zeros({2, 1}, at::kDouble), once = at::zeros({1, 1}, at::kDouble);
  auto const shared = nearest_neighbour_accuracy(twice, once);
  EXPECT_EQ(shared.of_real, 0.5);
  EXPECT_EQ(shared.of_generated, 0);
}

TEST(Overlap, KnowsItsBorders) {
  at::Tensor const x = normal(60, 3, 4);
  for (auto const balls : {Balls::closed_l2, Balls::open_l1}) {
    auto const equal = precision_and_recall(x, x, 3, balls), apart = precision_and_recall(x, x + 100, 3, balls);
    EXPECT_EQ(equal.precision, 1);
    EXPECT_EQ(equal.recall, 1);
    EXPECT_EQ(apart.precision, 0);
    EXPECT_EQ(apart.recall, 0);
  }
  // One cell many times has balls of radius 0, which a closed ball's centre is in.
  EXPECT_EQ(precision_and_recall(at::zeros({5, 2}), at::zeros({5, 2})).precision, 1);
  EXPECT_EQ(precision_and_recall(at::zeros({5, 2}), at::zeros({5, 2}), 3, Balls::open_l1).precision, 0);
  // Generated cells in one spot of the real ones: all of them are real, few of the real ones are made.
  auto const narrow = precision_and_recall(x, x.narrow(0, 0, 1) + 1e-6 * normal(60, 3, 5));
  EXPECT_EQ(narrow.precision, 1);
  EXPECT_LT(narrow.recall, 0.1);
}

TEST(Neighbours, RefuseWhatTheyCannotTake) {
  at::Tensor const x = normal(4, 3, 6), broken = normal(4, 3, 6);
  broken[0][2] = std::nan("");
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { nearest_neighbour_accuracy(broken, x); })
                .find("the real cells hold nan in row 0, column 2"),
            std::string::npos);
  failure_of(ExitCode::bad_input, [&] { precision_and_recall(x, broken); });
  failure_of(ExitCode::bad_input, [&] { nearest_neighbour_accuracy(x, normal(4, 2, 6)); });
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { precision_and_recall(x, x.narrow(0, 0, 3)); }).find("it needs 4"),
            std::string::npos);
}

}  // namespace
}  // namespace retort
