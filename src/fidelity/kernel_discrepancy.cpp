#include "retort/fidelity/kernel_discrepancy.hpp"

#include <ATen/ATen.h>

#include <array>

#include "point_sets.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

// Mean of kernels(squared distances) over all pairs; `kernels` may overwrite its argument.
template <class Kernels>
double mean_kernel(at::Tensor const& a, at::Tensor const& b, Kernels const& kernels) {
  double sum = 0;
  for_each_block(a,
                 [&](std::int64_t, at::Tensor const& rows) { sum += kernels(distances_between(rows, b).square_()); });
  return sum / static_cast<double>(a.size(0)) / static_cast<double>(b.size(0));
}

template <class Kernels>
double discrepancy(PointSets const& sets, Kernels const& kernels) {
  return mean_kernel(sets.real, sets.real, kernels) + mean_kernel(sets.generated, sets.generated, kernels) -
         2 * mean_kernel(sets.real, sets.generated, kernels);
}

double multi_kernel(PointSets const& sets) {
  at::Tensor const pooled = at::cat({sets.real, sets.generated});
  auto const cells = static_cast<double>(pooled.size(0));
  // The squared distances of all ordered pairs add up to 2 cells |x - mean|^2, summed over cells.
  double const total = 2 * cells * (pooled - pooled.mean(0)).square().sum().item<double>();
  double const width = total / (cells * (cells - 1)) / 4;
  if (width <= 0) return 0;
  return discrepancy(sets, [width](at::Tensor squared) {
    // Each kernel is the square of the next wider one.
    at::Tensor const kernel = squared.div_(-16 * width).exp_();
    double sum = kernel.sum().item<double>();
    for (int narrower = 0; narrower < 4; ++narrower) sum += kernel.square_().sum().item<double>();
    return sum;
  });
}

}  // namespace

double kernel_discrepancy(at::Tensor const& real, at::Tensor const& generated) {
  constexpr std::array<double, 5> sigmas{0.01, 0.1, 1, 10, 100};
  return discrepancy(checked_sets("kernel discrepancy", real, generated), [&](at::Tensor const& squared) {
    double sum = 0;
    for (double const sigma : sigmas) sum += (squared * (-0.5 / (sigma * sigma))).exp_().sum().item<double>();
    return sum;
  });
}

double multi_kernel_discrepancy(at::Tensor const& real, at::Tensor const& generated, std::int64_t genes_per_block) {
  PointSets const sets = checked_pairs("kernel discrepancy", real, generated);
  if (genes_per_block < 0)
    fail(ExitCode::usage, "a kernel discrepancy takes blocks of {} genes (a block has 1 or more; 0 takes all at once)",
         genes_per_block);
  if (!genes_per_block) return multi_kernel(sets);
  double sum = 0;
  std::int64_t blocks = 0;
  for (std::int64_t first = 0; first < sets.real.size(1); first += genes_per_block, ++blocks) {
    std::int64_t const genes = std::min(genes_per_block, sets.real.size(1) - first);
    sum += multi_kernel(
        {sets.real.narrow(1, first, genes).contiguous(), sets.generated.narrow(1, first, genes).contiguous()});
  }
  return sum / static_cast<double>(blocks);
}

}  // namespace retort
