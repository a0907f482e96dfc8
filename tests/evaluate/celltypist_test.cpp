// CellTypist's classifier against its definition: the minimum is one, and sparse cells are judged as dense ones are.
#include "retort/evaluate/celltypist.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace retort {
namespace {

constexpr std::int64_t n = 12, genes = 40, classes = 3;

struct World {
  at::Tensor cells, labels;
  World() {
    at::manual_seed(9);
    labels = at::arange(n) % classes;
    cells =
        at::relu(at::randn({n, genes}) +
                 at::one_hot(at::arange(genes) % classes, classes).t().index_select(0, labels).to(at::kFloat) * 1.5);
    cells.select(1, 4).zero_();   // a gene that no cell has
    cells.select(1, 5).fill_(2);  // one that never changes
  }
};

at::Tensor standardised(at::Tensor const& x, at::Tensor const& train) {
  at::Tensor const t = train.to(at::kDouble), sd = (t - t.mean(0)).square().mean(0).sqrt();
  return ((x.to(at::kDouble) - t.mean(0)) / at::where(sd > 0, sd, 1.0) * (t.sum(0) > 0)).clamp_max(10);
}

TEST(CellTypist, IsAtTheMinimumOfOneVersusRest) {
  World const world;
  CellTypist const model = train_celltypist(world.cells, world.labels, classes);
  at::Tensor const weight = at::tensor(model.weight).view({genes, classes}).to(at::kDouble).requires_grad_(true),
                   bias = at::tensor(model.bias).to(at::kDouble).requires_grad_(true);
  at::Tensor const sign = 2 * at::one_hot(world.labels, classes).to(at::kDouble) - 1;
  at::Tensor const loss = -at::log_sigmoid(sign * (standardised(world.cells, world.cells).mm(weight) + bias)).sum() +
                          0.5 * weight.square().sum();
  loss.backward();
  EXPECT_LT(weight.grad().abs().max().item<double>(), 1e-3);
  EXPECT_LT(bias.grad().abs().max().item<double>(), 1e-3);
  EXPECT_GT(weight.abs().max().item<double>(), 1e-2);
  EXPECT_EQ(weight[4].abs().max().item<double>(), 0.0);
}

TEST(CellTypist, JudgesSparseCellsAsDenseOnes) {
  World const world;
  CellTypist model = train_celltypist(world.cells, world.labels, classes);
  at::manual_seed(10);
  at::Tensor others = at::relu(at::randn({50, genes}));
  others.select(1, 7).mul_(100);  // far above the cut
  CsrBlock sparse;
  sparse.genes = genes;
  for (std::int64_t i = 0; i < 50; ++i) {
    for (std::int32_t g = 0; g < genes; ++g) {
      if (others[i][g].item<float>() == 0) continue;
      sparse.indices.push_back(g);
      sparse.values.push_back(others[i][g].item<float>());
    }
    sparse.indptr.push_back(std::ssize(sparse.indices));
  }
  at::Tensor const scores =
      standardised(others, world.cells).mm(at::tensor(model.weight).view({genes, classes}).to(at::kDouble)) +
      at::tensor(model.bias).to(at::kDouble);
  at::Tensor const expected = scores.argmax(1);
  auto const predicted = predict(model, sparse);
  EXPECT_TRUE(at::equal(at::tensor(predicted, at::kLong), expected));
  EXPECT_GT(expected.max().item<std::int64_t>(), expected.min().item<std::int64_t>());  // or a constant would do
}

TEST(CellTypist, AClassWithoutCellsIsNeverPredicted) {
  World const world;
  CellTypist const model = train_celltypist(world.cells, world.labels, classes + 1);
  CsrBlock empty;
  empty.genes = genes;
  empty.indptr = {0, 0};
  EXPECT_NE(predict(model, empty)[0], classes);
}

}  // namespace
}  // namespace retort
