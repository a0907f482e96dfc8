// The components against NumPy's SVD.
#include "retort/fidelity/feature_space.hpp"

#include <gtest/gtest.h>

#include "../count_cells.hpp"
#include "../numpy_verdict.hpp"
#include "../small_cells.hpp"

namespace retort {
namespace {

TEST(FeatureSpace, ProjectsLikeNumPy) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  auto const real = count_cells(1100, 400, 6);  // more than a block
  auto generated = count_cells(60, 400, 7);
  generated.indptr.push_back(generated.indptr.back());  // a cell without counts
  auto const space = FeatureSpace::fit(real, {.variable = {.count = 150}, .components = 10});
  EXPECT_TRUE(numpy_agrees("feature_space",
                           {{"real", testing_cells::dense(real)},
                            {"generated", testing_cells::dense(generated)},
                            {"genes", at::tensor(space.variable().genes)},
                            {"p", space.project(real)},
                            {"q", space.project(generated)},
                            {"spread", space.spread()}},
                           R"py(
genes = c['genes'].astype(int); assert len(genes) == 150
prep = lambda x: np.log1p(x[:, genes] / np.maximum(x[:, genes].sum(1, keepdims=True), 1) * 1e4)
real, generated = prep(c['real']), prep(c['generated']); mean = real.mean(0)
_, s, v = np.linalg.svd(real - mean, full_matrices=False)
v = v[:10]; v *= np.sign(np.take_along_axis(v, np.abs(v).argmax(1)[:, None], 1))
near(c['p'], (real - mean) @ v.T, 1e-6, 1e-6); near(c['q'], (generated - mean) @ v.T, 1e-6, 1e-6)
near(c['spread'], s[:10] ** 2 / (len(real) - 1)); near(c['p'].var(0, ddof=1), c['spread'])
)py"));
  EXPECT_TRUE(at::equal(space.project(real),
                        FeatureSpace::fit(real, {.variable = {.count = 150}, .components = 10}).project(real)));
}

// Expression is taken as it is, and the genes that vary most of it; values may be below 0.
TEST(FeatureSpace, TakesExpressionAsItIs) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  auto real = testing_cells::random_cells(80, 50, 0.4, 3), generated = testing_cells::random_cells(30, 50, 0.4, 4);
  generated.values[3] = -0.25F;
  auto const space = FeatureSpace::fit(real, {.variable = {.count = 20}, .components = 6, .log_normalised = true});
  EXPECT_TRUE(numpy_agrees("feature_space_log",
                           {{"real", testing_cells::dense(real)},
                            {"generated", testing_cells::dense(generated)},
                            {"genes", at::tensor(space.variable().genes)},
                            {"p", space.project(real)},
                            {"q", space.project(generated)}},
                           R"py(
genes = c['genes'].astype(int)
assert set(genes) == set(np.argsort(-c['real'].var(0))[:20]) and (np.diff(genes) > 0).all()
real, generated = c['real'][:, genes], c['generated'][:, genes]; mean = real.mean(0)
v = np.linalg.svd(real - mean, full_matrices=False)[2][:6]
v *= np.sign(np.take_along_axis(v, np.abs(v).argmax(1)[:, None], 1))
near(c['p'], (real - mean) @ v.T, 1e-6, 1e-6); near(c['q'], (generated - mean) @ v.T, 1e-6, 1e-6)
)py"));
  generated.values[3] = std::nanf("");
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { space.project(generated); }).find("it is no expression"),
            std::string::npos);
}

TEST(FeatureSpace, HasNoMoreComponentsThanTheCellsSpan) {
  auto const few = count_cells(4, 30, 8);
  auto const space = FeatureSpace::fit(few);
  EXPECT_EQ(space.components(), 3);
  EXPECT_EQ(space.project(few).size(1), 3);
  CsrBlock alike{.genes = 2, .indptr = {0, 1, 2}, .indices = {1, 1}, .values = {4, 4}};
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { FeatureSpace::fit(alike); }).find("all alike"), std::string::npos);
  failure_of(ExitCode::bad_input, [&] { FeatureSpace::fit(count_cells(1, 30, 8)); });
  failure_of(ExitCode::bad_input, [&] { space.project(alike); });
  auto broken = few;
  broken.values[5] = std::nanf("");
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { space.project(broken); }).find("holds nan"), std::string::npos);
  broken.values[5] = -1;
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { FeatureSpace::fit(broken); }).find("no count"), std::string::npos);
}

}  // namespace
}  // namespace retort
