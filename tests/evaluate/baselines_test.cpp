#include "retort/evaluate/baselines.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

using namespace retort;

namespace {

// Log-normalised cells of three classes, some outside train, the last class of two train cells only.
struct Fixture {
  std::int64_t const cells = 700, genes = 30, width = 6;
  CsrBlock all;
  at::Tensor dense, features;
  RowsByClass train;

  Fixture() : train(4) {  // class 3 is empty
    Random random(4, purpose::simulate);
    all.genes = genes;
    for (std::int64_t i = 0; i < cells; ++i) {
      for (std::int32_t gene = 0; gene < genes; ++gene) {
        if (random.uniform() > 0.3) continue;
        all.indices.push_back(gene);
        all.values.push_back(static_cast<float>(1 + random.below(20)));
      }
      all.indptr.push_back(static_cast<std::int64_t>(all.indices.size()));
      if (i % 7 == 6) continue;  // not of train
      train[i % 7 == 5 ? (i < 14 ? 2 : 0) : index(i % 2)].push_back(i);
    }
    log_normalise(all);
    dense = at::zeros({cells, genes});
    for (std::int64_t i = 0; i < cells; ++i)
      for (auto k = all.indptr[index(i)]; k < all.indptr[index(i) + 1]; ++k)
        dense[i][all.indices[index(k)]] = all.values[index(k)];
    features = at::empty({cells, width});
    for (std::int64_t i = 0; i < features.numel(); ++i)
      features.data_ptr<float>()[i] = static_cast<float>(random.normal());
  }

  ReadRows read() const {
    return [this](RowRange rows) {
      CsrBlock block;
      block.genes = genes;
      auto const first = all.indptr[index(rows.begin)], last = all.indptr[index(rows.end)];
      for (auto i = rows.begin + 1; i <= rows.end; ++i) block.indptr.push_back(all.indptr[index(i)] - first);
      block.indices.assign(all.indices.begin() + first, all.indices.begin() + last);
      block.values.assign(all.values.begin() + first, all.values.begin() + last);
      return block;
    };
  }
};

TEST(RandomRows, AreOfTheirClassAndOfOneDraw) {
  Fixture const data;
  auto const chosen = random_rows(data.train, 5, 1, 0);
  EXPECT_EQ(chosen.rows.size(), 15U);
  for (std::size_t i = 0; i < chosen.rows.size(); ++i) {
    auto const& own = data.train[index(chosen.labels[i])];
    EXPECT_TRUE(std::binary_search(own.begin(), own.end(), chosen.rows[i]));
    EXPECT_EQ(chosen.labels[i], static_cast<std::int64_t>(i / 5));
  }
  EXPECT_EQ((std::set<std::int64_t>(chosen.rows.begin(), chosen.rows.begin() + 10).size()), 10U);  // no cell twice
  EXPECT_EQ((std::set<std::int64_t>(chosen.rows.begin() + 10, chosen.rows.end()).size()), 2U);  // both cells of class 2
  EXPECT_EQ(chosen.rows, random_rows(data.train, 5, 1, 0).rows);
  EXPECT_NE(chosen.rows, random_rows(data.train, 5, 1, 1).rows);
  EXPECT_NE(chosen.rows, random_rows(data.train, 5, 2, 0).rows);
}

TEST(MedoidRows, AreNearestTheClassMean) {
  Fixture const data;
  auto const chosen = medoid_rows(data.train, data.features);
  EXPECT_EQ(chosen.labels, (std::vector<std::int64_t>{0, 1, 2}));
  for (std::size_t c = 0; c < 3; ++c) {
    auto const own = data.features.index_select(0, at::tensor(data.train[c], at::kLong)).to(at::kDouble);
    auto const distances = (own - own.mean(0)).norm(2, {1});
    EXPECT_EQ(chosen.rows[c], data.train[c][index(distances.argmin().item<std::int64_t>())]);
  }
}

TEST(KmeansRows, AreTheSameOnAnyNumberOfRanks) {
  Fixture const data;
  auto const chosen = kmeans_rows(Communicator::world(), data.train, data.features, 4, 3);
  auto const alone = kmeans_rows(Communicator::serial(), data.train, data.features, 4, 3);
  EXPECT_EQ(chosen.nearest.rows, alone.nearest.rows);
  EXPECT_EQ(chosen.groups, alone.groups);
  EXPECT_EQ(chosen.nearest.labels, (std::vector<std::int64_t>{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}));
  EXPECT_EQ(chosen.group_of_row, (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 9}));
  EXPECT_EQ(chosen.nearest.rows[8], chosen.nearest.rows[10]);
  std::int64_t in_train = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    for (auto const row : data.train[c]) {
      auto const group = chosen.groups[index(row)];
      EXPECT_EQ(group / 4, static_cast<std::int64_t>(c));
      ++in_train;
    }
  }
  EXPECT_EQ(std::count(chosen.groups.begin(), chosen.groups.end(), -1), data.cells - in_train);
}

TEST(GroupMeans, AreRescaledMeansOfLogValues) {
  Fixture const data;
  std::vector<std::int64_t> groups(index(data.cells), -1);
  for (std::size_t c = 0; c < 3; ++c)
    for (auto const row : data.train[c]) groups[index(row)] = static_cast<std::int64_t>(c);
  auto const ranks = Communicator::world(), alone = Communicator::serial();
  auto const means = group_means(ranks, ShardPlan(4, ranks.rank(), ranks.size()), data.read(), groups, 4, data.genes);
  EXPECT_TRUE(at::equal(means, group_means(alone, ShardPlan(4, 0, 1), data.read(), groups, 4, data.genes)));
  for (std::int64_t c = 0; c < 3; ++c) {
    auto const mean =
        data.dense.index_select(0, at::tensor(data.train[index(c)], at::kLong)).to(at::kDouble).mean(0).expm1();
    auto const expected = (mean * (1e4 / mean.sum())).log1p();
    EXPECT_LT((means[c] - expected).abs().max().item<double>(), 1e-5);
    EXPECT_NEAR(means[c].to(at::kDouble).expm1().sum().item<double>(), 1e4, 0.1);
  }
  EXPECT_EQ(means[3].abs().max().item<double>(), 0);
}

TEST(DenseRows, AreTheCells) {
  Fixture const data;
  std::vector<std::int64_t> const rows{5, 699, 0, 5};
  EXPECT_TRUE(
      at::equal(dense_rows(data.read(), rows, data.genes), data.dense.index_select(0, at::tensor(rows, at::kLong))));
}

}  // namespace
