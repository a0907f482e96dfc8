// The local regression against scikit-misc, the variable genes against scanpy.
#include "retort/cells/variable_genes.hpp"

#include <gtest/gtest.h>

#include "../count_cells.hpp"
#include "../numpy_verdict.hpp"
#include "../small_cells.hpp"
#include "retort/cells/local_regression.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

at::Tensor tensor(std::vector<double> const& values) { return at::tensor(values, at::kDouble); }

TEST(LocalRegression, AgreesWithScikitMisc) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  std::vector<double> x, y, few_x, few_y, tied;
  Random random(1, purpose::simulate);
  for (int i = 0; i < 1501; ++i) {
    x.push_back(random.normal() * std::exp(random.normal()));
    y.push_back(std::sin(x.back()) + 0.3 * random.normal());
    tied.push_back(std::round(4 * x.back()) / 4);  // cuts are moved off equal values
  }
  for (int i = 0; i < 40; ++i) {
    few_x.push_back(x[index(i)]);
    few_y.push_back(y[index(i)]);
  }
  std::map<std::string, at::Tensor> arrays{
      {"x", tensor(x)}, {"y", tensor(y)}, {"tied", tensor(tied)}, {"few_x", tensor(few_x)}, {"few_y", tensor(few_y)}};
  arrays["narrow"] = tensor(local_regression(x, y, 0.3));
  arrays["whole"] = tensor(local_regression(x, y, 1.0));
  arrays["ties"] = tensor(local_regression(tied, y, 0.5));
  arrays["few"] = tensor(local_regression(few_x, few_y, 0.3));
  EXPECT_TRUE(numpy_agrees("loess", arrays, R"py(
from skmisc.loess import loess
def trend(x, y, span): model = loess(x, y, span=span, degree=2); model.fit(); return model.outputs.fitted_values
near(c['narrow'], trend(c['x'], c['y'], .3), 1e-8, 1e-9); near(c['whole'], trend(c['x'], c['y'], 1.), 1e-8, 1e-9)
near(c['ties'], trend(c['tied'], c['y'], .5), 1e-8, 1e-9); near(c['few'], trend(c['few_x'], c['few_y'], .3), 1e-8, 1e-9)
)py"));
}

TEST(LocalRegression, FollowsAQuadraticAndRefusesAPoint) {
  std::vector<double> x, y;
  for (int i = 0; i < 50; ++i) {
    x.push_back(0.1 * i);
    y.push_back(2 - x.back() + 0.5 * x.back() * x.back());
  }
  auto const trend = local_regression(x, y, 0.4);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(trend[i], y[i], 1e-10);
  std::vector<double> const same(50, 1.0);
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { local_regression(same, y, 0.4); }).find("zero width"),
            std::string::npos);
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { local_regression(x, y, 0.05); }).find("2 in a neighbourhood"),
            std::string::npos);
}

TEST(VariableGenes, AreThoseOfScanpy) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  auto const cells = count_cells(300, 1200, 3);
  auto const as_scanpy = variable_genes(cells, {.count = 200, .seen_in = 0});
  auto const seen = variable_genes(cells, {.count = 200});
  EXPECT_EQ(as_scanpy.span, 0.3);
  EXPECT_TRUE(std::is_sorted(seen.genes.begin(), seen.genes.end()));
  EXPECT_TRUE(numpy_agrees("variable_genes",
                           {{"x", testing_cells::dense(cells)},
                            {"all", at::tensor(as_scanpy.genes)},
                            {"all_variance", tensor(as_scanpy.variance)},
                            {"seen", at::tensor(seen.genes)},
                            {"seen_variance", tensor(seen.variance)}},
                           R"py(
import anndata as ad, scanpy as sc, scipy.sparse as sp
def scanpy(x):
    A = ad.AnnData(sp.csr_matrix(x))
    sc.pp.highly_variable_genes(A, n_top_genes=200, flavor='seurat_v3')
    return A.var
v = scanpy(c['x'])
near(c['all_variance'], v.variances_norm, 1e-8)
assert set(c['all']) == set(np.where(v.highly_variable)[0])
there = np.where((c['x'] > 0).sum(0) >= 3)[0]; assert len(there) < 1200
v = scanpy(c['x'][:, there])
near(c['seen_variance'][there], v.variances_norm, 1e-8)
assert set(c['seen']) == set(there[v.highly_variable])
)py"));
}

TEST(VariableGenes, AreAllWhereFewAreSeen) {
  auto const cells = count_cells(20, 50, 4);
  auto const all = variable_genes(cells);
  EXPECT_EQ(std::ssize(all.genes), 50);
  EXPECT_EQ(all.span, 0);
  failure_of(ExitCode::bad_input, [] { variable_genes(count_cells(1, 50, 4)); });
}

TEST(VariableGenes, TakeAWiderSpanWhereOneHasNoWidth) {
  // Half of the genes have one count in three cells each: one mean, and more of it than a neighbourhood holds.
  CsrBlock cells = count_cells(30, 40, 5);
  cells.genes = 90;
  for (std::size_t row = 0, at = 0; row < 30; ++row) {
    at = index(cells.indptr[row + 1]);
    std::vector<std::int32_t> more;
    for (std::int32_t gene = 40; gene < 90; ++gene)
      if (index(gene) % 10 == row % 10) more.push_back(gene);
    cells.indices.insert(cells.indices.begin() + static_cast<std::ptrdiff_t>(at), more.begin(), more.end());
    cells.values.insert(cells.values.begin() + static_cast<std::ptrdiff_t>(at), more.size(), 1.0F);
    for (std::size_t later = row + 1; later < cells.indptr.size(); ++later) cells.indptr[later] += std::ssize(more);
  }
  EXPECT_GT(variable_genes(cells, {.count = 10}).span, 0.3);
  failure_of(ExitCode::bad_input, [&] { variable_genes(cells, {.count = 10, .spans = {0.3}}); });
}

}  // namespace
}  // namespace retort
