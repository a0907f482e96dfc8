// The student `genes`: its derivative against finite differences of its loss, and its bits on any number of ranks.
#include "retort/distill/gene_matching.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace retort {
namespace {

constexpr std::int64_t genes = 24, classes = 3;

struct World {
  std::vector<std::vector<std::int64_t>> rows_by_class;
  at::Tensor real, truth, cells, labels;  // real cells dense; cells: the synthetic ones

  World() {
    at::manual_seed(31);
    std::vector<at::Tensor> parts, of_class;
    std::int64_t row = 0;
    at::Tensor const marks = at::one_hot(at::arange(genes) % classes, classes).t().to(at::kFloat);
    for (std::int64_t c = 0; c < classes; ++c) {
      std::int64_t const count = 10 + 40 * c;
      parts.push_back(at::relu(at::randn({count, genes}) + marks[c]));
      of_class.push_back(at::full({count}, c, at::kLong));
      auto& rows = rows_by_class.emplace_back();
      for (std::int64_t i = 0; i < count; ++i) rows.push_back(row++);
    }
    real = at::cat(parts);
    truth = at::cat(of_class);
    labels = at::arange(classes * 2).div(2, "floor");
    cells = at::relu(at::randn({classes * 2, genes}) + marks.index_select(0, labels)) + 0.1;
  }
  GeneMatching::Read read() const {
    return [this](std::span<std::int64_t const> rows) {
      CsrBlock block;
      block.genes = genes;
      for (auto const row : rows) {
        for (std::int32_t g = 0; g < genes; ++g) {
          float const value = real[row][g].item<float>();
          if (value == 0) continue;
          block.indices.push_back(g);
          block.values.push_back(value);
        }
        block.indptr.push_back(std::ssize(block.indices));
      }
      return block;
    };
  }
  // By its definition, in double.
  double loss(at::Tensor const& set) const {
    GeneStudent const student(set, labels, classes);
    return at::cross_entropy_loss(real.to(at::kDouble).mm(student.weight()) + student.bias(), truth).item<double>();
  }
};

TEST(GeneMatching, HasTheDerivativeOfItsLoss) {
  World const world;
  auto const ranks = Communicator::world();
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  GeneMatching const matching(ranks, plan, world.read(), world.rows_by_class, genes, 1000);
  auto const result = matching(world.cells, world.labels);
  EXPECT_NEAR(result.loss, world.loss(world.cells), 1e-5 * result.loss);
  EXPECT_EQ(matching.loss(world.cells, world.labels), result.loss);
  at::manual_seed(32);
  at::Tensor const direction = at::randn({classes * 2, genes}, at::kDouble), at0 = world.cells.to(at::kDouble);
  double const expected = (world.loss(at0 + direction * 1e-5) - world.loss(at0 - direction * 1e-5)) / 2e-5;
  EXPECT_NEAR((result.by_cells.to(at::kDouble) * direction).sum().item<double>(), expected, 1e-4 * std::abs(expected));
  EXPECT_GT(std::abs(expected), 1e-3);
}

TEST(GeneMatching, SameBitsOnAnyNumberOfRanksAlsoOfASample) {
  World const world;
  for (std::int64_t const most : {1000, 20}) {
    auto const found = [&](Communicator const& ranks) {
      ShardPlan const plan(4, ranks.rank(), ranks.size());
      return GeneMatching(ranks, plan, world.read(), world.rows_by_class, genes, most)(world.cells, world.labels);
    };
    auto const together = found(Communicator::world()), alone = found(Communicator::serial());
    EXPECT_EQ(together.loss, alone.loss);
    EXPECT_TRUE(at::equal(together.by_cells, alone.by_cells));
  }
}

}  // namespace
}  // namespace retort
