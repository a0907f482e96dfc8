// The logistic regression on genes: at its optimum, and its derivative by the cells against finite differences.
#include "retort/distill/gene_student.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace retort {
namespace {

constexpr std::int64_t n = 9, genes = 30, classes = 3;

struct World {
  at::Tensor cells, labels, by_weight, by_bias;
  World() {
    at::manual_seed(21);
    labels = at::arange(n).div(3, "floor");
    cells = at::rand({n, genes}, at::kDouble) +
            at::one_hot(at::arange(genes) % classes, classes).t().index_select(0, labels);
    cells.select(1, 3).fill_(0.5);  // never changes
    by_weight = at::randn({genes, classes}, at::kDouble);
    by_bias = at::randn({classes}, at::kDouble);
  }
};

TEST(GeneStudent, IsAtTheOptimumOfOneVersusRest) {
  World const world;
  GeneStudent const student(world.cells, world.labels, classes);
  at::Tensor const mean = world.cells.mean(0), sd = (world.cells - mean).square().mean(0).sqrt();
  at::Tensor const scaled = at::where(sd > GeneStudent::least_sd, (world.cells - mean) / sd, 0.0);
  at::Tensor const weight =
      at::where((sd > GeneStudent::least_sd).unsqueeze(1), student.weight() * sd.unsqueeze(1), 0.0)
          .requires_grad_(true);
  at::Tensor const bias = (student.bias() + student.weight().t().mv(mean)).requires_grad_(true);
  at::Tensor const sign = 2 * at::one_hot(world.labels, classes).to(at::kDouble) - 1;
  at::Tensor const loss = -at::log_sigmoid(sign * (scaled.mm(weight) + bias)).sum() + 0.5 * weight.square().sum();
  loss.backward();
  EXPECT_LT(weight.grad().abs().max().item<double>(), 1e-8);
  EXPECT_LT(bias.grad().abs().max().item<double>(), 1e-8);
  EXPECT_GT(weight.abs().max().item<double>(), 1e-2);
}

TEST(GeneStudent, MovesWithItsCellsAsFiniteDifferencesSay) {
  World const world;
  auto const loss_of = [&](at::Tensor const& cells) {
    GeneStudent const student(cells, world.labels, classes);
    return ((student.weight() * world.by_weight).sum() + (student.bias() * world.by_bias).sum()).item<double>();
  };
  at::Tensor const gradient = GeneStudent(world.cells, world.labels, classes).back(world.by_weight, world.by_bias);
  for (int i = 0; i < 3; ++i) {
    at::Tensor direction = at::randn({n, genes}, at::kDouble);
    direction.select(1, 3).zero_();  // a gene that does not vary is left out, and begins to count with a jump
    double const expected = (loss_of(world.cells + direction * 1e-5) - loss_of(world.cells - direction * 1e-5)) / 2e-5;
    EXPECT_NEAR((gradient * direction).sum().item<double>(), expected, 1e-6 * std::abs(expected) + 1e-9);
  }
  EXPECT_EQ(gradient.select(1, 3).abs().max().item<double>(), 0.0);
}

}  // namespace
}  // namespace retort
