// Classifiers of latents and their scores against scikit-learn, and on any number of ranks.
#include "retort/fidelity/embedding_classes.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "../numpy_verdict.hpp"

namespace retort {
namespace {

constexpr std::int64_t classes = 4, width = 6;

// Overlapping clouds whose axes have different lengths; classes are not equally frequent.
LabelledFeatures clouds(std::int64_t n, std::uint64_t seed) {
  at::manual_seed(seed);
  at::Tensor const labels = (at::rand({n}) * at::rand({n}) * classes).to(at::kLong);
  at::manual_seed(99);
  at::Tensor const centres = at::randn({classes, width}) * 1.5;
  at::manual_seed(seed + 1);
  return {(centres.index_select(0, labels) + at::randn({n, width})) *
              at::tensor({1.0, 5.0, 0.1, 2.0, 1.0, 1.0}, at::kFloat),
          labels};
}

TEST(EmbeddingClasses, AgreeWithSklearn) {
  auto const world = Communicator::world();
  auto const train = clouds(700, 1), test = clouds(300, 5);
  ShardPlan const plan(4, world.rank(), world.size());
  auto const votes = neighbour_votes(world, train, test.features, classes, 15),
             probabilities = regression_probabilities(world, plan, train, test.features, classes);
  if (world.size() > 1) return;  // one rank asks Python; more ranks are held to one below
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  auto const scored = [&](at::Tensor const& scores) {
    auto const found = score_of_scores(scores, test.labels);
    return at::tensor({found.accuracy, found.macro_f1, found.roc_auc, found.pr_auc}, at::kDouble);
  };
  EXPECT_TRUE(numpy_agrees("embedding_classes",
                           {{"x", train.features},
                            {"y", train.labels},
                            {"u", test.features},
                            {"v", test.labels},
                            {"votes", votes},
                            {"probabilities", probabilities},
                            {"of_votes", scored(votes)},
                            {"of_probabilities", scored(probabilities)}},
                           R"py(
from sklearn.neighbors import KNeighborsClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score, average_precision_score
x, y, u, v = c['x'], c['y'].astype(int), c['u'], c['v'].astype(int)
knn = KNeighborsClassifier(15).fit(x, y).predict_proba(u); near(c['votes'], knn)
lr = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-8, max_iter=5000)).fit(x, y).predict_proba(u)
near(c['probabilities'], lr, 0, 2e-3)
def scores(p):
    hot = v[:, None] == np.arange(4)
    return [100 * accuracy_score(v, p.argmax(1)), 100 * f1_score(v, p.argmax(1), average='macro'),
            roc_auc_score(v, p, multi_class='ovr', average='macro'), average_precision_score(hot, p, average='macro')]
near(c['of_votes'], scores(c['votes'])); near(c['of_probabilities'], scores(c['probabilities']))
assert 50 < c['of_votes'][0] < 99.5, c['of_votes']
)py"));
}

TEST(EmbeddingClasses, AreTheSameOnAnyNumberOfRanks) {
  auto const world = Communicator::world(), alone = Communicator::serial();
  auto const train = clouds(500, 11), test = clouds(600, 15);
  EXPECT_TRUE(at::equal(neighbour_votes(world, train, test.features, classes, 7),
                        neighbour_votes(alone, train, test.features, classes, 7)));
  EXPECT_TRUE(at::equal(regression_probabilities(world, {4, world.rank(), world.size()}, train, test.features, classes),
                        regression_probabilities(alone, {4, 0, 1}, train, test.features, classes)));
}

TEST(EmbeddingClasses, KnowSimpleCases) {
  auto const alone = Communicator::serial();
  LabelledFeatures const train{at::tensor({0.0F, 1.0F, 10.0F, 11.0F, 12.0F}).view({5, 1}),
                               at::tensor({0, 0, 1, 1, 1}, at::kLong)};
  at::Tensor const test = at::tensor({0.4F, 11.6F}).view({2, 1});
  auto const votes = neighbour_votes(alone, train, test, 3, 2);
  EXPECT_TRUE(at::equal(votes, at::tensor({1.0, 0.0, 0.0, 0.0, 1.0, 0.0}, at::kDouble).view({2, 3})));
  EXPECT_NEAR(neighbour_votes(alone, train, test, 3, 50)[0][1].item<double>(), 0.6, 1e-15);  // no more than there are

  auto const perfect = score_of_scores(votes, at::tensor({0, 1}, at::kLong));
  EXPECT_EQ(perfect.accuracy, 100);
  EXPECT_EQ(perfect.macro_f1, 100);
  EXPECT_EQ(perfect.roc_auc, 1);
  EXPECT_EQ(perfect.pr_auc, 1);
  // Equal scores: the lower class; and one class alone has no area.
  auto const equal = score_of_scores(at::ones({2, 3}, at::kDouble), at::tensor({0, 0}, at::kLong));
  EXPECT_EQ(equal.accuracy, 100);
  EXPECT_TRUE(std::isnan(equal.roc_auc));
  EXPECT_TRUE(json_of(equal)["pr_auc"].is_null());
  // A latent that never varies is no reason to divide by zero.
  LabelledFeatures flat = train;
  flat.features = at::cat({train.features, at::ones({5, 1})}, 1);
  auto const probabilities = regression_probabilities(alone, {4, 0, 1}, flat, at::cat({test, at::ones({2, 1})}, 1), 2);
  EXPECT_GT(probabilities[0][0].item<double>(), 0.5);
  EXPECT_GT(probabilities[1][1].item<double>(), 0.5);
}

}  // namespace
}  // namespace retort
