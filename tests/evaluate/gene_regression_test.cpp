#include "retort/evaluate/gene_regression.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

using namespace retort;

namespace {

constexpr std::int64_t genes = 60, classes = 5, cells = 900;

// Log-normalised cells; each class has genes of its own. Rows are cut into shards as the atlas's are.
std::vector<LabelledCells> shards_of(ShardPlan const& plan) {
  std::vector<LabelledCells> own;
  for (int shard = plan.begin(); shard < plan.end(); ++shard) {
    auto& one = own.emplace_back();
    one.cells.genes = genes;
    auto const rows = share_of(cells, shard, plan.shards());
    for (auto row = rows.begin; row < rows.end; ++row) {
      Random random(8, purpose::simulate, static_cast<std::uint64_t>(row));
      auto const label = static_cast<std::int32_t>(random.below(classes));
      for (std::int32_t gene = 0; gene < genes; ++gene) {
        if (random.uniform() > (gene % classes == label ? 0.3 : 0.2)) continue;
        one.cells.indices.push_back(gene);
        one.cells.values.push_back(static_cast<float>(1 + random.below(9)));
      }
      one.cells.indptr.push_back(static_cast<std::int64_t>(one.cells.indices.size()));
      one.labels.push_back(label);
    }
    log_normalise(one.cells);
    for (float& value : one.cells.values) value /= 3;
  }
  return own;
}

std::vector<double> some_point(std::int64_t size) {
  Random random(2, purpose::simulate);
  std::vector<double> x(index(size));
  for (double& value : x) value = 0.3 * random.normal();
  return x;
}

TEST(RegressionLoss, GradientEqualsFiniteDifferences) {
  auto const ranks = Communicator::world();
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  auto const own = shards_of(plan);
  RegressionLoss loss(ranks, plan, own, genes, classes);
  auto x = some_point(loss.size());
  std::vector<double> gradient(x.size()), ignored(x.size());
  double const penalty = 0.02;
  loss(x, gradient, penalty);
  for (std::size_t i = 0; i < x.size(); i += 13) {
    // The step is wide because scores are float32.
    double const step = 1e-2, kept = x[i];
    x[i] = kept + step;
    double const above = loss(x, ignored, penalty);
    x[i] = kept - step;
    double const below = loss(x, ignored, penalty);
    x[i] = kept;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * step), 2e-5) << i;
  }
  x.back() += 0.5;  // a bias
  double const above = loss(x, ignored, penalty);
  x.back() -= 0.5;
  EXPECT_NEAR(above - loss(x, gradient, penalty), 0.5 * (gradient.back() + ignored.back()) / 2, 2e-3);
}

TEST(RegressionLoss, HasTheSameBitsOnAnyNumberOfRanks) {
  auto const ranks = Communicator::world(), alone = Communicator::serial();
  ShardPlan const plan(4, ranks.rank(), ranks.size()), whole(4, 0, 1);
  auto const own = shards_of(plan), all = shards_of(whole);
  RegressionLoss loss(ranks, plan, own, genes, classes), loss_alone(alone, whole, all, genes, classes);
  auto const x = some_point(loss.size());
  std::vector<double> gradient(x.size()), gradient_alone(x.size());
  EXPECT_EQ(loss(x, gradient, 0.1), loss_alone(x, gradient_alone, 0.1));
  EXPECT_EQ(gradient, gradient_alone);
}

// The minimum must be sklearn's: the same value and the same predictions.
TEST(RegressionLoss, MinimumEqualsSklearns) {
  auto const world = Communicator::world();
  if (!world.is_root()) return;  // nothing in here is collective
  char const* python = std::getenv("RETORT_PYTHON");
  if (!python || !std::filesystem::exists(python)) GTEST_SKIP() << "RETORT_PYTHON names no Python";
  auto const ranks = Communicator::serial();
  ShardPlan const plan(4, 0, 1);
  auto const own = shards_of(plan);
  RegressionLoss loss(ranks, plan, own, genes, classes);
  double const penalty = 1e-3;
  auto const found = minimise([&](auto const& x, auto& gradient) { return loss(x, gradient, penalty); },
                              std::vector<double>(index(loss.size())));
  EXPECT_TRUE(found.converged);
  std::vector<float> const weight(found.x.begin(), found.x.end() - classes),
      bias(found.x.end() - classes, found.x.end());

  auto const folder = std::filesystem::temp_directory_path() / ("retort_regression_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  {
    std::ofstream csv(folder / "cells.txt"), script(folder / "fit.py");
    for (auto const& shard : own) {
      auto const predicted = predict_classes(shard.cells, weight, bias);
      for (std::size_t i = 0; i < shard.labels.size(); ++i) {
        csv << shard.labels[i] << ' ' << predicted[i];
        for (auto k = index(shard.cells.indptr[i]); k < index(shard.cells.indptr[i + 1]); ++k)
          csv << ' ' << shard.cells.indices[k] << ':' << shard.cells.values[k];
        csv << '\n';
      }
    }
    script << R"(
import sys, numpy as np
from sklearn.linear_model import LogisticRegression
folder, penalty, value, genes = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
rows = [line.split() for line in open(folder + '/cells.txt')]
y = np.array([int(r[0]) for r in rows]); ours = np.array([int(r[1]) for r in rows]); X = np.zeros((len(rows), genes))
for i, r in enumerate(rows):
    for entry in r[2:]:
        gene, number = entry.split(':'); X[i, int(gene)] = float(number)
model = LogisticRegression(C=1 / (penalty * len(y)), tol=1e-8, max_iter=5000).fit(X, y)
loss = -np.log(model.predict_proba(X)[np.arange(len(y)), y]).mean() + penalty / 2 * (model.coef_ ** 2).sum()
same = (model.predict(X) == ours).mean()
print(loss, value, same, (ours == y).mean())
sys.exit(0 if abs(loss - value) < 1e-5 * loss and same > 0.997 and (ours == y).mean() > 0.5 else 1)
)";
  }
  auto const command = fmt::format("'{}' '{}' '{}' {:.17g} {:.17g} {}", python, (folder / "fit.py").string(),
                                   folder.string(), penalty, found.value, genes);
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::filesystem::remove_all(folder);
}

TEST(PredictClasses, TakesTheHighestScore) {
  CsrBlock block;
  block.genes = 2;
  block.indptr = {0, 1, 2, 2};
  block.indices = {0, 1};
  block.values = {1, 2};
  std::vector<float> const weight{1, 2, 3, 1, 0, 0}, bias{0.5F, 0, 0};  // gene 0 speaks for class 2, gene 1 for class 0
  EXPECT_EQ(predict_classes(block, weight, bias), (std::vector<std::int64_t>{2, 0, 0}));
}

}  // namespace
