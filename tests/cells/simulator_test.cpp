#include "retort/cells/simulator.hpp"

#include <cmath>

#include "../shared_folder.hpp"
#include "retort/cells/atlas.hpp"

namespace retort {
namespace {

SimulateOptions small() {
  SimulateOptions options;
  options.cells = 1501;
  options.genes = 800;
  options.types = 5;
  options.batches = 3;
  return options;
}

TEST(Simulator, writes_the_same_file_on_any_number_of_ranks) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "simulated");
  for (std::string const format : {"atlas", "h5ad"}) {
    auto options = small();
    options.format = format;
    simulate(ranks, options, 3, folder / "together.h5ad");
    if (ranks.is_root()) {
      simulate(Communicator::serial(), options, 3, folder / "alone.h5ad");
      EXPECT_TRUE(bytes_of_file(folder / "together.h5ad") == bytes_of_file(folder / "alone.h5ad")) << format;
      simulate(Communicator::serial(), options, 4, folder / "other.h5ad");
      EXPECT_FALSE(bytes_of_file(folder / "other.h5ad") == bytes_of_file(folder / "alone.h5ad")) << format;
    }
  }
}

// Over many draws of one cell's kind, means and variances are those of the model.
TEST(Simulator, counts_have_the_mean_and_variance_that_it_says) {
  auto options = small();
  options.types = options.batches = options.conditions = 1;
  options.library_sd = 0;
  Simulator simulator(options, 5);
  auto const means = simulator.means({});
  constexpr int draws = 4000;
  std::vector<double> sum(means.size()), squares(means.size());
  std::vector<std::uint32_t> genes, counts;
  std::int64_t nonzeros = 0;
  for (int row = 0; row < draws; ++row) {
    genes.clear();
    counts.clear();
    simulator.draw(row, genes, counts);
    nonzeros += std::ssize(genes);
    for (std::size_t k = 0; k < genes.size(); ++k) {
      EXPECT_TRUE(k == 0 || genes[k] > genes[k - 1]);
      sum[genes[k]] += counts[k];
      squares[genes[k]] += static_cast<double>(counts[k]) * counts[k];
    }
  }
  EXPECT_NEAR(static_cast<double>(nonzeros) / draws, 76, 2);  // 9.5 % of 800
  double ratio = 0, high = 0;
  for (std::size_t gene = 0; gene < means.size(); ++gene) {
    double const mean = sum[gene] / draws, variance = squares[gene] / draws - mean * mean;
    EXPECT_NEAR(mean, means[gene], 6 * std::sqrt(variance / draws) + 6e-3) << gene;
    if (mean > 1) {
      ratio += (variance - mean) / (mean * mean) * options.dispersion;  // 1 / theta, whose median is 1 / dispersion
      ++high;
    }
  }
  EXPECT_GT(high, 5);
  EXPECT_NEAR(ratio / high, 1.13, 0.5);  // the mean of a log-normal of sd 0.5
}

TEST(Simulator, truth_is_recovered) {
  auto const ranks = Communicator::world();
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  SharedFolder const folder(ranks, "simulated_truth");
  auto options = small();
  options.cells = 3000;
  options.nonzeros = 200;
  simulate(ranks, options, 3, folder / "atlas.h5ad");
  options.format = "h5ad";
  simulate(ranks, options, 3, folder / "plain.h5ad");
  if (!ranks.is_root()) return;
  EXPECT_TRUE(python_agrees(folder.path, R"(
import numpy as np, anndata as ad
from sklearn.linear_model import LogisticRegression
a, p = ad.read_h5ad('atlas.h5ad'), ad.read_h5ad('plain.h5ad')
assert p.X.dtype == np.float32 and p.X.indices.dtype == np.int32
assert list(p.obs.columns) == ['cell_type', 'batch', 'condition']
x = p.X.toarray()
assert np.array_equal(a.X.toarray(), x) and a.obs.cell_type.equals(p.obs.cell_type)
assert abs(p.X.nnz / p.n_obs - 200) < 10
treated = (p.obs.condition == 'treated').values
assert .45 < treated.mean() < .55 and p.obs.batch.nunique() == 3 and p.obs.cell_type.nunique() == 5
t, c = x[treated].mean(0), x[~treated].mean(0)
seen = np.log2((t + 1e-3) / (c + 1e-3)); lfc = p.var.true_lfc.values; well = (t + c > .5)
assert p.var.is_de.sum() == 40 and np.array_equal(p.var.is_de, lfc != 0) and (well & p.var.is_de).sum() >= 8
assert np.abs(seen - lfc)[well & (lfc == 0)].mean() < .15
assert np.corrcoef(seen[well & p.var.is_de], lfc[well & p.var.is_de])[0, 1] > .95
test = (a.obs.split == 'test').values
y = np.log1p(x / x.sum(1, keepdims=True) * 1e4)
score = LogisticRegression(max_iter=200).fit(y[~test], a.obs.cell_type[~test]).score(y[test], a.obs.cell_type[test])
assert score > .9, score
)"));
  Atlas const atlas(folder / "atlas.h5ad");
  EXPECT_EQ(atlas.labels().classes(), 5);
  EXPECT_NEAR(static_cast<double>(std::ranges::count(atlas.parts(), Part::test)), 900, 5);
}

// A condition changes as many genes in every type: some in all alike, the others in this type alone, by so much that
// counts show it.
TEST(Simulator, a_share_of_the_changes_is_each_types_own) {
  auto const changed = [](std::vector<double> const& changes) {
    return std::ranges::count_if(changes, [](double change) { return change != 0; });
  };
  auto options = small();
  options.conditions = 3;
  options.de_genes = 40;
  Simulator const without(options, 3);
  options.interaction = 0.25;
  Simulator const quarter(options, 3);
  options.interaction = 1;
  Simulator const whole(options, 3);
  for (std::int32_t condition = 1; condition < 3; ++condition) {
    EXPECT_EQ(changed(without.log_fold_changes(condition)), 40);
    EXPECT_EQ(changed(quarter.log_fold_changes(condition)), 30);
    EXPECT_EQ(changed(whole.log_fold_changes(condition)), 0);
    std::vector<int> types_that_change(800, 0);
    for (std::int32_t type = 0; type < 5; ++type) {
      EXPECT_EQ(without.log_fold_changes(condition, type), without.log_fold_changes(condition));
      auto const own = quarter.log_fold_changes(condition, type), shared = quarter.log_fold_changes(condition),
                 all = whole.log_fold_changes(condition, type);
      EXPECT_EQ(changed(own), 40);
      EXPECT_EQ(changed(all), 40);
      auto const control = quarter.means({type, 1, 0}), treated = quarter.means({type, 1, condition});
      for (std::size_t gene = 0; gene < own.size(); ++gene) {
        if (shared[gene] != 0) {
          EXPECT_EQ(own[gene], shared[gene]);
        }
        EXPECT_NEAR(std::log2(treated[gene] / control[gene]), own[gene], 1e-9);
        if (all[gene] != 0) ++types_that_change[gene];
      }
    }
    // Five times 40 of 400: by chance a few genes are of several types, and hardly any of all.
    EXPECT_GT(std::ranges::count(types_that_change, 1), 80);
    EXPECT_LT(std::ranges::count(types_that_change, 5), 3);
  }
  for (std::int32_t type = 0; type < 5; ++type) EXPECT_EQ(changed(whole.log_fold_changes(0, type)), 0);  // the control
}

TEST(Simulator, interaction_is_told_in_the_file_and_changes_no_other) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "simulated_interaction");
  auto options = small();
  options.interaction = 0.5;
  simulate(ranks, options, 3, folder / "own.h5ad");
  if (!ranks.is_root()) return;
  simulate(Communicator::serial(), options, 3, folder / "alone.h5ad");
  EXPECT_TRUE(bytes_of_file(folder / "own.h5ad") == bytes_of_file(folder / "alone.h5ad"));
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  EXPECT_TRUE(python_agrees(folder.path, R"(
import numpy as np, anndata as ad
a = ad.read_h5ad('own.h5ad')
assert a.uns['retort']['simulation']['interaction'] == 0.5 if 'retort' in a.uns else True
x, treated = a.X.toarray(), (a.obs.condition == 'treated').values
assert a.var.is_de.sum() == 20
for t in a.obs.cell_type.cat.categories:
    lfc = a.var['true_lfc_' + t].values
    assert a.var['is_de_' + t].sum() == 40 and np.array_equal(lfc[a.var.is_de], a.var.true_lfc[a.var.is_de])
type_ = a.obs.cell_type.value_counts().index[0]
of_type = (a.obs.cell_type == type_).values
t, c = x[of_type & treated].mean(0), x[of_type & ~treated].mean(0)
lfc = a.var['true_lfc_' + type_].values; well = (t + c > .5) & (lfc != 0) & ~a.var.is_de.values
assert well.sum() >= 3 and np.corrcoef(np.log2((t + 1e-3) / (c + 1e-3))[well], lfc[well])[0, 1] > .9
)"));
}

TEST(Simulator, refuses_numbers_that_make_no_cells) {
  auto options = small();
  options.nonzeros = 790;
  failure_of(ExitCode::usage, [&] { Simulator(options, 0); });
  options = small();
  options.interaction = 1.5;
  failure_of(ExitCode::usage, [&] { Simulator(options, 0); });
  options = small();
  options.format = "csv";
  failure_of(ExitCode::usage, [&] { Simulator(options, 0); });
}

}  // namespace
}  // namespace retort
