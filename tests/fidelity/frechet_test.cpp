// The Frechet distance against scipy's matrix root, also of singular covariances.
#include "retort/fidelity/frechet.hpp"

#include <gtest/gtest.h>

#include "../numpy_verdict.hpp"

namespace retort {
namespace {

at::Tensor cells(std::int64_t rows, std::int64_t width, std::uint64_t seed) {
  at::manual_seed(seed);
  return at::mm(at::randn({rows, width}, at::kDouble), at::randn({width, width}, at::kDouble));
}

TEST(Frechet, AgreesWithScipy) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  at::Tensor const x = cells(200, 12, 1), y = cells(90, 12, 2) + 0.5, few = cells(5, 12, 3), some = cells(8, 12, 4);
  EXPECT_TRUE(numpy_agrees("frechet",
                           {{"x", x},
                            {"y", y},
                            {"few", few},
                            {"some", some},
                            {"got", number(frechet_distance(x, y))},
                            {"singular", number(frechet_distance(few, some))}},
                           R"py(
import scipy.linalg
def frechet(a, b):
    s, t = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.maximum(scipy.linalg.eigvals(s @ t).real, 0))
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t) - 2 * roots.sum()
def by_root(a, b):
    s, t = np.cov(a.T), np.cov(b.T)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real)
near(c['got'], by_root(c['x'], c['y'])); near(c['got'], frechet(c['x'], c['y']))
near(c['singular'], frechet(c['few'], c['some']), 1e-6)
)py"));
}

TEST(Frechet, KnowsSimpleCases) {
  at::Tensor const x = cells(100, 6, 5);
  EXPECT_NEAR(frechet_distance(x, x), 0, 1e-11);
  EXPECT_NEAR(frechet_distance(x, x.flip(0) + 2), 24, 1e-10);  // a shift
  double const variance = x.var(0).sum().item<double>();
  EXPECT_NEAR(frechet_distance(x - x.mean(0), 3 * (x - x.mean(0))), 4 * variance, 1e-9);  // (3 - 1)^2 of the trace
  at::Tensor const few = cells(3, 50, 6);
  EXPECT_NEAR(frechet_distance(few, few) / few.var(0).sum().item<double>(), 0, 1e-12);  // singular, and still exact
  EXPECT_NEAR(frechet_distance(x.to(at::kFloat), x), 0, 1e-6);
}

TEST(Frechet, RefusesWhatHasNoCovariance) {
  at::Tensor const x = cells(4, 3, 7), broken = cells(4, 3, 7);
  broken[3][0] = std::nan("");
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { frechet_distance(x, x.narrow(0, 0, 1)); }).find("1 generated cells"),
            std::string::npos);
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { frechet_distance(x, broken); })
                .find("the generated cells hold nan in row 3, column 0"),
            std::string::npos);
  failure_of(ExitCode::bad_input, [&] { frechet_distance(x, cells(4, 2, 7)); });
}

}  // namespace
}  // namespace retort
