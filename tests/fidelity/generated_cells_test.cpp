// All scores of a set against SciPy and NumPy, computed there from counts and kinds alone; and on any number of ranks.
#include "retort/fidelity/generated_cells.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "../numpy_verdict.hpp"
#include "../small_cells.hpp"
#include "retort/cells/csr_rows.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

class GeneratedCellsTest : public testing::Test {
 protected:
  GeneratedCellsTest() {
    SimulateOptions options;
    options.cells = 700, options.genes = 60, options.types = 4, options.nonzeros = 25;
    simulate(ranks, options, 3, folder / "atlas.h5ad");
    atlas = std::make_unique<Atlas>(folder / "atlas.h5ad");
    kinds = kinds_of(*atlas, {"cell_type"}, {atlas->labels("cell_type").names[3]});
    for (std::int64_t gene = 0; gene < 60; ++gene)
      if (gene % 5) terms.genes.push_back(gene);
    terms.covers.assign(4, true);
    test = rows_of_part(*atlas, Part::test);
    // Train cells with some genes made rarer; of the third kind there is one alone.
    std::vector<std::int64_t> rows;
    std::int64_t of_third = 0;
    for (std::int64_t row = 0; row < atlas->cells(); ++row)
      if (atlas->parts()[index(row)] == Part::fit && (kinds.of_row[index(row)] != 2 || of_third++ == 0))
        rows.push_back(row);
    set = real_cells(*atlas, kinds, rows, terms);
    for (std::size_t k = 0; k < set.cells.indices.size(); ++k)
      if (set.cells.indices[k] % 7 == 0) set.cells.values[k] = 0;
    options_.variable.count = 30;
    options_.components = 8;
  }

  void expect_numpys(Terms const& on, CellsOfKinds const& generated, std::string const& name) {
    auto const comparison = comparison_with(*atlas, kinds, test, on, options_);
    constexpr std::int64_t most = 40;
    auto const scores = score_generated(ranks, comparison, kinds, generated, most);
    auto const json = json_of(scores);
    EXPECT_EQ(json, json_of(score_generated(Communicator::serial(), comparison, kinds, generated, most)))
        << "another result on " << ranks.size() << " ranks";
    if (ranks.size() > 1 || !has_python()) return;  // more ranks were held to one
    auto const whole = [](std::vector<std::int32_t> const& codes) { return at::tensor(codes, at::kInt); };
    std::vector<std::int32_t> genes = comparison.space.variable().genes;
    at::Tensor const of_kind = at::empty({kinds.count(), std::ssize(distance_names)}, at::kDouble);
    for (std::int64_t k = 0; k < kinds.count(); ++k)
      for (std::int64_t d = 0; d < of_kind.size(1); ++d) of_kind[k][d] = scores.of_kind[index(k)][index(d)];
    EXPECT_TRUE(numpy_agrees(
        name,
        {{"x", testing_cells::dense(comparison.real.cells)},
         {"y", testing_cells::dense(generated.cells)},
         {"a", whole(comparison.real.kinds)},
         {"b", whole(generated.kinds)},
         {"genes", whole(genes)},
         {"of_kind", of_kind},
         {"are_counts", number(on.values == CellValues::counts)},
         {"components", number(static_cast<double>(comparison.space.components()))},
         {"mean", at::tensor(at::ArrayRef<double>(scores.mean.data(), scores.mean.size()), at::kDouble)},
         {"unseen",
          at::tensor(at::ArrayRef<double>(scores.mean_unseen.data(), scores.mean_unseen.size()), at::kDouble)},
         {"of_all", at::tensor(at::ArrayRef<double>(scores.of_all.data(), scores.of_all.size()), at::kDouble)},
         {"neighbour", number(scores.neighbour_accuracy)},
         {"spread", at::tensor({scores.zeros, scores.variation, scores.zero_gap, scores.variation_gap}, at::kDouble)},
         {"zeros", at::tensor(scores.zeros_of_kind, at::kDouble)},
         {"library", number(scores.library)}},
        R"py(
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import log_softmax
from scipy.stats import wasserstein_distance
from scipy.linalg import sqrtm
x, y, a, b, genes = c['x'], c['y'], c['a'].astype(int), c['b'].astype(int), c['genes'].astype(int)
logs = (lambda z: np.log1p(1e4 * z / np.maximum(z.sum(1, keepdims=True), 1))) if c['are_counts'] else (lambda z: z)
p, q = logs(x[:, genes]), logs(y[:, genes])                       # CFGen: scaled over the chosen genes
axes = np.linalg.svd(p - p.mean(0), full_matrices=False)[2][:int(c['components'])].T
p, q = (p - p.mean(0)) @ axes, (q - p.mean(0)) @ axes
u, v = logs(x)[:, genes], logs(y)[:, genes]                        # scRDiT: scaled over all genes
def w2(p, q): d = cdist(p, q, 'sqeuclidean'); i, j = linear_sum_assignment(d); return d[i, j].mean() ** .5
def mmd2(p, q):
    k = lambda s, t: sum(np.exp(-cdist(s, t, 'sqeuclidean') / (2 * g * g)).mean() for g in (.01, .1, 1, 10, 100))
    return k(p, p) + k(q, q) - 2 * k(p, q)
def fd(p, q):
    s, t = np.cov(p.T), np.cov(q.T)
    return ((p.mean(0) - q.mean(0)) ** 2).sum() + np.trace(s + t - 2 * np.real(sqrtm(s @ t)))
def kl(u, v): s, t = log_softmax(u, 1), log_softmax(v, 1); return (np.exp(s) * (s - t)).sum(1).mean()
def scrdit(u, v):
    def block(u, v):
        z = np.r_[u, v]; d = cdist(z, z, 'sqeuclidean'); w = d.sum() / (len(z) ** 2 - len(z)) / 4
        k = sum(np.exp(-d / (w * 2 ** i)) for i in range(5)); n = len(u)
        return (k[:n, :n] + k[n:, n:] - k[:n, n:] - k[n:, :n]).mean()
    return np.mean([block(u[:, i:i + 20], v[:, i:i + 20]) for i in range(0, u.shape[1], 20)])
def distances(i, j):
    return [w2(p[i], q[j]), mmd2(p[i], q[j]), fd(p[i], q[j]), kl(u[i], v[j]),
            wasserstein_distance(u[i].ravel(), v[j].ravel()), scrdit(u[i], v[j])]
for k, got in enumerate(c['of_kind']):
    i, j = np.flatnonzero(a == k), np.flatnonzero(b == k); n = min(len(i), len(j), 40); i, j = i[:n], j[:n]
    if n < 2: assert np.isnan(got).all(), (k, got); continue
    near(got, distances(i, j), 1e-5, 1e-6)
assert np.isnan(c['of_kind'][2]).all() and np.isfinite(c['of_kind'][[0, 1, 3]]).all()
near(c['mean'], np.nanmean(c['of_kind'], 0)); near(c['unseen'], c['of_kind'][3])
i, j = (np.arange(40) * len(x)) // 40, (np.arange(40) * len(y)) // 40
z = np.r_[p[i], q[j]]; d = cdist(z, z); np.fill_diagonal(d, np.inf); side = np.arange(80) // 40
near(c['neighbour'], (side[d.argmin(1)] == side).mean())
near(c['of_all'], distances(i, j), 1e-5, 1e-6)
cv = lambda z: z.std(0) / z.mean(0)
with np.errstate(all='ignore'): on, both = y.mean(0) > .01, (x.mean(0) > .01) & (y.mean(0) > .01); s = cv(y)
near(c['spread'], [(y == 0).mean(), np.sort(s[on])[(on.sum() - 1) // 2],
                   np.abs((x == 0).mean(0) - (y == 0).mean(0)).mean(), np.abs(cv(x) - s)[both].mean()], 1e-6)
near(c['zeros'], [(y[b == k] == 0).mean() for k in range(4)], 1e-6)
near(c['library'], y.sum(1).mean() if c['are_counts'] else np.nan, 1e-6)
)py"));
  }

  Communicator const ranks = Communicator::world();
  SharedFolder const folder{ranks, "generated_cells"};
  std::unique_ptr<Atlas> atlas;
  Kinds kinds;
  Terms terms;
  std::vector<std::int64_t> test;
  CellsOfKinds set;
  FeatureSpaceOptions options_;
};

TEST_F(GeneratedCellsTest, CountsScoreAsNumPySays) { expect_numpys(terms, set, "scored_counts"); }

TEST_F(GeneratedCellsTest, ExpressionScoresAsNumPySays) {
  auto made = set;
  log_normalise(made.cells, 500);
  expect_numpys({CellValues::log_normalised, terms.genes, terms.covers}, made, "scored_expression");
}

TEST_F(GeneratedCellsTest, RealCellsAreNearThemselves) {
  auto const comparison = comparison_with(*atlas, kinds, test, terms, options_);
  auto const scores = score_generated(ranks, comparison, kinds, comparison.real, 1000);
  for (auto const& of_kind : scores.of_kind)
    for (double const distance : of_kind) EXPECT_NEAR(distance, 0, 1e-6);
  EXPECT_EQ(scores.neighbour_accuracy, 0);
  EXPECT_EQ(scores.precision, 1);
  EXPECT_EQ(scores.zero_gap, 0);
}

// A set of two kinds without labels is compared with the test cells of those two, all together.
TEST_F(GeneratedCellsTest, SetsWithoutLabelsAreComparedWhole) {
  Terms some = terms;
  some.covers = {true, false, true, false};
  some.is_labelled = false;
  auto const comparison = comparison_with(*atlas, kinds, test, some, options_);
  EXPECT_EQ(std::ssize(comparison.real.kinds), kinds.test_cells[0] + kinds.test_cells[2]);
  auto whole = comparison.real;
  std::fill(whole.kinds.begin(), whole.kinds.end(), 0);
  auto const scores = score_generated(ranks, comparison, kinds, whole, 1000);
  EXPECT_NEAR(scores.mean[0], 0, 1e-6);
  EXPECT_EQ(scores.mean, scores.of_all);
  for (auto const& of_kind : scores.of_kind) EXPECT_TRUE(std::isnan(of_kind[0]));
  auto const json = json_of(scores);
  EXPECT_FALSE(json.contains("unseen"));
  EXPECT_TRUE(json["of_class"]["zeros"][0].is_null());
  EXPECT_EQ(json_of(comparison, kinds)["test_cells"], comparison.real.kinds.size());
}

// Generated sets lie kind after kind, real cells as ingest shuffled them: the same cells in another order are no other
// cells, though scRDiT's MMD takes five hundred of them.
TEST_F(GeneratedCellsTest, OrderOfKindsDoesNotMatter) {
  auto comparison = comparison_with(*atlas, kinds, test, terms, options_);
  std::vector<std::int64_t> in_blocks, shuffled;
  for (int kind = 0; kind < 2; ++kind)
    for (std::int64_t i = 0, row = 0; i < 300; row = (row + 1) % comparison.real.cells.rows())
      if (comparison.real.kinds[index(row)] == kind) in_blocks.push_back(row), ++i;
  shuffled = in_blocks;
  Random(1, purpose::distances, 0).shuffle(shuffled);
  auto const these = [&, real = comparison.real](std::vector<std::int64_t> const& rows) {
    CellsOfKinds chosen{chosen_rows(real.cells, rows), {}};
    for (auto const row : rows) chosen.kinds.push_back(real.kinds[index(row)]);
    return chosen;
  };
  comparison.real = these(shuffled);
  auto const mmd = [&](std::vector<std::int64_t> const& rows) {
    return score_generated(Communicator::serial(), comparison, kinds, these(rows), 600).of_all.back();
  };
  auto one_sided = in_blocks;
  for (std::size_t i = 500; i < one_sided.size(); ++i) one_sided[i] = one_sided[i - 500];
  EXPECT_LT(mmd(in_blocks), 0.2 * mmd(one_sided)) << mmd(in_blocks) << ' ' << mmd(one_sided);
}

// Where kinds were cut, some rows stand for all cells together; each kind keeps its own.
TEST_F(GeneratedCellsTest, RowsInProportionStandForAll) {
  auto const comparison = comparison_with(*atlas, kinds, test, terms, options_);
  std::vector<std::int64_t> some;
  for (std::int64_t row = 0; row < set.cells.rows(); row += 3) some.push_back(row);
  CellsOfKinds alone{chosen_rows(set.cells, some), {}};
  for (auto const row : some) alone.kinds.push_back(set.kinds[index(row)]);
  auto const whole = score_generated(ranks, comparison, kinds, set, 50),
             found = score_generated(ranks, comparison, kinds, set, 50, some),
             expected = score_generated(ranks, comparison, kinds, alone, 50);
  EXPECT_EQ(found.of_all, expected.of_all);
  EXPECT_EQ(found.zeros, expected.zeros);
  EXPECT_EQ(found.library, expected.library);
  EXPECT_EQ(found.neighbour_accuracy, expected.neighbour_accuracy);
  EXPECT_EQ(json_of(found)["of_class"]["w2"], json_of(whole)["of_class"]["w2"]);
  EXPECT_NE(found.of_all, whole.of_all);
}

TEST_F(GeneratedCellsTest, JsonNamesEveryScore) {
  auto const comparison = comparison_with(*atlas, kinds, test, terms, options_);
  auto const json = json_of(score_generated(ranks, comparison, kinds, set, 30));
  for (char const* key : {"w2", "mmd2", "frechet", "kl", "w1", "scrdit_mmd"}) {
    EXPECT_TRUE(json[key].is_number()) << key;
    EXPECT_EQ(json["of_class"][key].size(), 4U);
    EXPECT_TRUE(json["of_class"][key][2].is_null());
    EXPECT_EQ(json["unseen"][key], json["of_class"][key][3]);
  }
  auto const of = json_of(comparison, kinds);
  EXPECT_EQ(of["values"], "counts");
  EXPECT_EQ(of["genes"], 48);
  EXPECT_EQ(of["variable_genes"], 30);
  EXPECT_EQ(of["components"], 8);
}

}  // namespace
}  // namespace retort
