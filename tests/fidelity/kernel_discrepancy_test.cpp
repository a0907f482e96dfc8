// The discrepancies against NumPy with whole matrices, and where they must vanish.
#include "retort/fidelity/kernel_discrepancy.hpp"

#include <gtest/gtest.h>

#include "../numpy_verdict.hpp"

namespace retort {
namespace {

at::Tensor expression(std::int64_t cells, std::int64_t genes, std::uint64_t seed) {
  at::manual_seed(seed);
  return at::randn({cells, genes}, at::kDouble).clamp_min(0);
}

TEST(KernelDiscrepancy, AgreesWithNumPy) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  at::Tensor const x = expression(300, 30, 1), y = expression(270, 30, 2) * 1.2;  // more than a block of rows
  at::Tensor close = expression(50, 2, 3) * 0.05,
             near_by = expression(50, 2, 4) * 0.05;  // where the narrow kernels speak
  EXPECT_TRUE(numpy_agrees("kernel_discrepancy",
                           {{"x", x},
                            {"y", y},
                            {"close", close},
                            {"near_by", near_by},
                            {"got", number(kernel_discrepancy(x, y))},
                            {"got_close", number(kernel_discrepancy(close, near_by))}},
                           R"py(
from scipy.spatial.distance import cdist
k = lambda a, b: sum(np.exp(-cdist(a, b, 'sqeuclidean') / (2 * s * s)).mean() for s in (.01, .1, 1, 10, 100))
mmd = lambda a, b: k(a, a) + k(b, b) - 2 * k(a, b)
near(c['got'], mmd(c['x'], c['y'])); near(c['got_close'], mmd(c['close'], c['near_by']))
)py"));
}

TEST(MultiKernelDiscrepancy, AgreesWithPyTorch) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  at::Tensor const x = expression(270, 50, 5), y = expression(270, 50, 6) + 0.1;
  x.narrow(1, 20, 20).zero_();  // a block that is 0 everywhere
  y.narrow(1, 20, 20).zero_();
  EXPECT_TRUE(numpy_agrees("multi_kernel_discrepancy",
                           {{"x", x},
                            {"y", y},
                            {"whole", number(multi_kernel_discrepancy(x, y))},
                            {"blocks", number(multi_kernel_discrepancy(x, y, 20))}},
                           R"py(
import torch
def mmd(p, q):
    z = torch.cat([p, q]); n = len(p); d = ((z[:, None] - z[None]) ** 2).sum(-1)
    w = d.sum() / (2 * n * (2 * n - 1)) / 2 ** (5 // 2)
    k = sum(torch.exp(-d / (w * 2 ** i).clamp_min(1e-12)) for i in range(5))
    return float((k[:n, :n] + k[n:, n:] - k[:n, n:] - k[n:, :n]).mean())
x, y = torch.from_numpy(c['x']), torch.from_numpy(c['y'])
near(c['whole'], mmd(x, y)); near(c['blocks'], sum(mmd(x[:, s:s + 20], y[:, s:s + 20]) for s in (0, 20, 40)) / 3)
)py"));
}

TEST(KernelDiscrepancies, VanishForEqualSets) {
  at::Tensor const x = expression(300, 10, 7);
  EXPECT_EQ(kernel_discrepancy(x, x), 0);
  EXPECT_EQ(multi_kernel_discrepancy(x, x), 0);
  EXPECT_NEAR(kernel_discrepancy(x, x.flip(0)), 0, 1e-12);
  at::Tensor const one = x.narrow(0, 0, 1);
  EXPECT_EQ(kernel_discrepancy(one, one), 0);
  EXPECT_EQ(multi_kernel_discrepancy(one, one), 0);            // a bandwidth of 0
  EXPECT_NEAR(kernel_discrepancy(one, one + 1e4), 10, 1e-12);  // five kernels, all 1 within and 0 between
  EXPECT_GT(kernel_discrepancy(x, x + 0.5), kernel_discrepancy(x, x + 0.1));
}

TEST(KernelDiscrepancies, RefuseWhatTheyCannotTake) {
  at::Tensor const x = expression(4, 3, 8), broken = expression(4, 3, 8);
  broken[1][2] = std::numeric_limits<double>::infinity();
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { kernel_discrepancy(broken, x); })
                .find("the real cells hold inf in row 1, column 2"),
            std::string::npos);
  failure_of(ExitCode::bad_input, [&] { multi_kernel_discrepancy(x, broken); });
  failure_of(ExitCode::bad_input, [&] { kernel_discrepancy(x, expression(4, 2, 8)); });
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { multi_kernel_discrepancy(x, expression(5, 3, 8)); })
                .find("4 real and 5 generated"),
            std::string::npos);
}

}  // namespace
}  // namespace retort
