// Exact transport against scipy's assignment and linear programme, and its properties.
#include "retort/fidelity/transport.hpp"

#include <gtest/gtest.h>

#include "../numpy_verdict.hpp"

namespace retort {
namespace {

at::Tensor normal(std::int64_t rows, std::int64_t width, std::uint64_t seed) {
  at::manual_seed(seed);
  return at::randn({rows, width}, at::kDouble);
}

TEST(Wasserstein2, AgreesWithScipy) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  at::Tensor const x = normal(300, 5, 1), y = normal(300, 5, 2) * 1.5 + 0.3, few = normal(45, 5, 3),
                   some = normal(30, 5, 4), odd = normal(31, 5, 5);
  // Whole numbers: many transports cost the same, and many distances are zero.
  at::Tensor const ties = normal(120, 2, 6).round(), more_ties = normal(80, 2, 7).round();
  EXPECT_TRUE(numpy_agrees("transport",
                           {{"x", x},
                            {"y", y},
                            {"few", few},
                            {"some", some},
                            {"odd", odd},
                            {"ties", ties},
                            {"more_ties", more_ties},
                            {"equal", number(wasserstein2(x, y))},
                            {"divided", number(wasserstein2(few, some))},
                            {"turned", number(wasserstein2(some, few))},
                            {"prime", number(wasserstein2(odd, some))},
                            {"tied", number(wasserstein2(ties, more_ties))},
                            {"one", number(wasserstein2(few.narrow(0, 0, 1), some))}},
                           R"py(
from scipy.spatial.distance import cdist
from scipy.optimize import linear_sum_assignment, linprog
import scipy.sparse as sp
d = cdist(c['x'], c['y'], 'sqeuclidean'); i, j = linear_sum_assignment(d)
near(c['equal'], d[i, j].mean() ** .5)
def exact(x, y):
    n, m = len(x), len(y); d = cdist(x, y, 'sqeuclidean')
    A = sp.vstack([sp.kron(sp.eye(n), np.ones((1, m))), sp.kron(np.ones((1, n)), sp.eye(m))])
    return linprog(d.ravel(), A_eq=A, b_eq=np.r_[np.full(n, 1 / n), np.full(m, 1 / m)], method='highs').fun ** .5
near(c['divided'], exact(c['few'], c['some']), 1e-7); near(c['turned'], c['divided'])
near(c['prime'], exact(c['odd'], c['some']), 1e-7); near(c['tied'], exact(c['ties'], c['more_ties']), 1e-7)
near(c['one'], cdist(c['few'][:1], c['some'], 'sqeuclidean').mean() ** .5)
)py"));
}

TEST(Wasserstein2, OfEqualSetsIsZeroInAnyOrder) {
  at::Tensor const x = normal(200, 7, 8);
  EXPECT_EQ(wasserstein2(x, x.flip(0)), 0);
  EXPECT_NEAR(wasserstein2(x, at::cat({x, x, x}).flip(0)), 0, 1e-7);  // each cell divided in three
  EXPECT_NEAR(wasserstein2(x, x + 2), 2 * std::sqrt(7), 1e-12);       // a shift is moved straight
  EXPECT_EQ(wasserstein2(x.narrow(0, 0, 1), x.narrow(0, 0, 1)), 0);
}

TEST(Wasserstein2, TakesTwoThousandCells) {
  at::Tensor const x = normal(2000, 30, 9), y = normal(2000, 30, 10) * 1.1;
  double const distance = wasserstein2(x, y);
  EXPECT_LT(distance, std::sqrt((x - y).square().sum(1).mean().item<double>()));
  EXPECT_GT(distance, (x.mean(0) - y.mean(0)).norm().item<double>());
}

TEST(Wasserstein1, AgreesWithScipy) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  at::Tensor const x = normal(40, 50, 11).clamp_min(0), y = (normal(70, 50, 12) + 0.2).clamp_min(0);
  EXPECT_TRUE(numpy_agrees("transport_values", {{"x", x}, {"y", y}, {"got", number(wasserstein1_of_values(x, y))}},
                           "from scipy.stats import wasserstein_distance\nnear(c['got'], "
                           "wasserstein_distance(c['x'].ravel(), c['y'].ravel()))\n"));
  EXPECT_EQ(wasserstein1_of_values(x, x.flip(0)), 0);
  EXPECT_NEAR(wasserstein1_of_values(x.to(at::kFloat), x.to(at::kFloat) + 1), 1, 1e-6);
}

TEST(Wasserstein, RefusesWhatHasNoDistance) {
  at::Tensor const x = normal(4, 3, 13), broken = normal(4, 3, 13);
  broken[2][1] = std::nan("");
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { wasserstein2(x, broken); })
                .find("the generated cells hold nan in row 2, column 1"),
            std::string::npos);
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { wasserstein1_of_values(broken, x); }).find("the real cells hold nan"),
            std::string::npos);
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { wasserstein2(x, normal(4, 2, 1)); })
                .find("3 values and the generated ones 2"),
            std::string::npos);
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { wasserstein2(x.narrow(0, 0, 0), x); }).find("0 real cells"),
            std::string::npos);
  failure_of(ExitCode::bad_input, [&] { wasserstein2(x.to(at::kLong), x); });
  failure_of(ExitCode::bad_input, [&] { transport_cost(at::full({2, 2}, HUGE_VAL, at::kDouble)); });
}

}  // namespace
}  // namespace retort
