// Statistics of expression against NumPy, PyTorch and torchmetrics' definition.
#include "retort/fidelity/expression_statistics.hpp"

#include <gtest/gtest.h>

#include "../numpy_verdict.hpp"
#include "../small_cells.hpp"

namespace retort {
namespace {

using testing_cells::dense;
using testing_cells::random_cells;

TEST(GeneSpread, AgreesWithNumPy) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  auto cells = random_cells(120, 40, 0.3, 1);
  for (std::size_t k = 0; k < cells.indices.size(); ++k)
    if (cells.indices[k] == 7) cells.values[k] = 0;  // stored zeros are zeros
  auto const other = random_cells(100, 40, 0.5, 2);
  auto const sparse = gene_spread(cells), full = gene_spread(dense(other));
  EXPECT_TRUE(numpy_agrees("gene_spread",
                           {{"x", dense(cells)},
                            {"y", dense(other)},
                            {"zeros", sparse.zeros},
                            {"mean", sparse.mean},
                            {"deviation", sparse.deviation},
                            {"cv", sparse.coefficient_of_variation()},
                            {"all_zeros", number(sparse.zero_proportion())},
                            {"other_zeros", full.zeros},
                            {"other_deviation", full.deviation},
                            {"zero_gap", number(zero_gap(sparse, full))},
                            {"variation_gap", number(variation_gap(sparse, full))}},
                           R"py(
x, y = c['x'], c['y']
near(c['zeros'], (x == 0).mean(0)); near(c['all_zeros'], (x == 0).mean())
near(c['mean'], x.mean(0)); near(c['deviation'], x.std(0))
assert c['zeros'][7] == 1 and np.isnan(c['cv'][7])
on = x.mean(0) > .01; assert on.sum() == 39
near(c['cv'][on], x.std(0)[on] / x.mean(0)[on])
near(c['other_zeros'], (y == 0).mean(0)); near(c['other_deviation'], y.std(0))
near(c['zero_gap'], np.abs((x == 0).mean(0) - (y == 0).mean(0)).mean())
near(c['variation_gap'], np.abs((x.std(0) / x.mean(0))[on] - (y.std(0) / y.mean(0))[on]).mean())
)py"));
  EXPECT_LT(testing_cells::largest_difference(sparse.deviation, gene_spread(dense(cells)).deviation), 1e-12);
}

TEST(GeneSpread, OfEqualSetsHasNoGap) {
  auto const cells = random_cells(30, 20, 0.3, 3);
  auto const spread = gene_spread(cells);
  EXPECT_EQ(zero_gap(spread, spread), 0);
  EXPECT_EQ(variation_gap(spread, spread), 0);
  EXPECT_TRUE(std::isnan(variation_gap(spread, spread, 1e9)));
  EXPECT_EQ(gene_spread(random_cells(1, 20, 0.3, 3)).deviation.max().item<double>(), 0);  // one cell
  failure_of(ExitCode::bad_input, [&] { zero_gap(spread, gene_spread(random_cells(30, 19, 0.3, 3))); });
  failure_of(ExitCode::bad_input, [] { gene_spread(random_cells(0, 3, 0.3, 3)); });
  auto broken = cells;
  broken.values[4] = std::nanf("");
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { gene_spread(broken); }).find("holds nan"), std::string::npos);
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { gene_spread(dense(broken)); }).find("the cells hold nan"),
            std::string::npos);
}

TEST(PairedCells, AgreeWithPyTorch) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  at::Tensor const x = dense(random_cells(300, 25, 0.4, 4)), y = (x + dense(random_cells(300, 25, 0.4, 5))) / 3;
  y.narrow(1, 3, 1).fill_(0.1F);                // constant everywhere
  x.narrow(0, 0, 128).narrow(1, 4, 1).zero_();  // constant in the first batch
  EXPECT_TRUE(numpy_agrees("paired_cells",
                           {{"x", x},
                            {"y", y},
                            {"kl", number(softmax_divergence(x, y))},
                            {"mse", number(mean_squared_error(x, y))},
                            {"whole", number(gene_correlation(x, y))},
                            {"batches", number(gene_correlation(x, y, 128))},
                            {"last_of_one", number(gene_correlation(x.narrow(0, 0, 257), y.narrow(0, 0, 257), 128))}},
                           R"py(
import torch, torch.nn.functional as F
x, y = torch.from_numpy(c['x']), torch.from_numpy(c['y'])
near(c['kl'], F.kl_div(y.log_softmax(1), x.softmax(1), reduction='batchmean').item())
near(c['mse'], F.mse_loss(x, y).item())
# torchmetrics: covariance over the root of the variances, NaN without variance; then the mean of the others
def pcc(x, y):
    r = [np.corrcoef(a, b)[0, 1] if np.ptp(a) and np.ptp(b) else np.nan for a, b in zip(x.T, y.T)]; return np.nanmean(r)
x, y = c['x'], c['y']
batches = lambda n: sum(pcc(x[i:min(i + 128, n)], y[i:min(i + 128, n)]) * min(128, n - i)
                        for i in range(0, n, 128) if n - i > 1)
near(c['whole'], pcc(x, y)); near(c['batches'], batches(300) / 300); near(c['last_of_one'], batches(257) / 256)
assert abs(c['whole'] - c['batches']) > 1e-6
)py"));
}

TEST(PairedCells, KnowSimpleCases) {
  at::Tensor const x = dense(random_cells(20, 10, 0.5, 6)).to(at::kDouble);
  EXPECT_NEAR(gene_correlation(x, 2 * x + 1), 1, 1e-12);
  EXPECT_NEAR(gene_correlation(x, -x), -1, 1e-12);
  EXPECT_EQ(softmax_divergence(x, x), 0);
  EXPECT_NEAR(softmax_divergence(x, x + 5), 0, 1e-12);  // a shift of a whole row changes no softmax
  EXPECT_EQ(mean_squared_error(x, x), 0);
  EXPECT_TRUE(std::isnan(gene_correlation(x.narrow(0, 0, 1), x.narrow(0, 0, 1))));  // one cell does not vary
  at::Tensor const broken = x.clone();
  broken[1][1] = std::nan("");
  failure_of(ExitCode::bad_input, [&] { gene_correlation(x, broken); });
  failure_of(ExitCode::bad_input, [&] { softmax_divergence(broken, x); });
  failure_of(ExitCode::bad_input, [&] { mean_squared_error(x, x.narrow(0, 0, 19)); });
  failure_of(ExitCode::bad_input, [&] { mean_squared_error(x, x.narrow(1, 0, 9)); });
}

}  // namespace
}  // namespace retort
