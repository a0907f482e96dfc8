// Students learn what can be told apart, to the same bits on any number of ranks.
#include "retort/evaluate/teaching.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <numeric>

#include "../shared_folder.hpp"
#include "retort/evaluate/image_network.hpp"
#include "retort/evaluate/pathway_transformer.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t genes = 120, classes = 4;

// Cells of class c have the genes g % classes == c more often and higher.
struct World {
  at::Tensor cells, labels;
  World(std::int64_t count, std::uint64_t seed)
      : cells(at::zeros({count, genes})), labels(at::arange(count) % classes) {
    for (std::int64_t i = 0; i < count; ++i) {
      Random random(seed, purpose::simulate, static_cast<std::uint64_t>(i));
      for (std::int64_t g = 0; g < genes; ++g) {
        bool const own = g % classes == i % classes;
        if (random.uniform() < (own ? 0.6 : 0.3)) cells[i][g] = 0.5 + (own ? 2.0 : 1.0) * random.uniform();
      }
    }
  }
};

std::unique_ptr<Student> image_network() {
  World const world(200, 1);
  return std::make_unique<ImageNetwork>(
      lay_out_genes(teaching_cells(world.cells, world.labels, classes)
                        .read(std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}),
                    16),
      classes, 3, 0);
}

std::unique_ptr<Student> transformer() {
  Pathways pathways{std::vector<std::vector<std::int32_t>>(10), false, ""};
  for (std::int32_t g = 0; g < genes; ++g) pathways.genes[index(g * 7 % 10)].push_back(g);
  return std::make_unique<PathwayTransformer>(pathways, genes, classes, 3, 0);
}

double accuracy_of(Student const& student, World const& world) {
  std::vector<std::int64_t> rows(index(world.labels.size(0)));
  std::iota(rows.begin(), rows.end(), 0);
  auto const predicted = predict(student, teaching_cells(world.cells, world.labels, classes).read(rows));
  return at::tensor(predicted, at::kLong).eq(world.labels).to(at::kDouble).mean().item<double>();
}

void learns(std::unique_ptr<Student> (*make)(), TeachingOptions const& options) {
  World const train(160, 1), test(150, 2);
  Communicator const alone = Communicator::serial();
  auto const student = make();
  EXPECT_LT(accuracy_of(*student, test), 0.6);
  teach(alone, ShardPlan(1, 0, 1), *student, teaching_cells(train.cells, train.labels, classes), options, 5, 0);
  EXPECT_GT(accuracy_of(*student, test), 0.9);
}

TEST(Teaching, ImageNetworkLearns) { learns(image_network, {.steps = 120, .batch = 16, .rate = 2e-3}); }
TEST(Teaching, TransformerLearns) { learns(transformer, {.steps = 120, .batch = 8, .rate = 3e-3}); }

// All ranks together against this rank alone, with the same shards.
void is_equal_on_ranks(std::unique_ptr<Student> (*make)()) {
  Communicator const world = Communicator::world(), alone = Communicator::serial();
  World const train(40, 1);
  auto const cells = teaching_cells(train.cells, train.labels, classes);
  auto const together = make(), single = make();
  auto const before = single->weights();
  teach(world, ShardPlan(4, world.rank(), world.size()), *together, cells, {.steps = 6, .batch = 8}, 5, 2);
  teach(alone, ShardPlan(4, 0, 1), *single, cells, {.steps = 6, .batch = 8}, 5, 2);
  EXPECT_EQ(together->weights(), single->weights());
  EXPECT_NE(single->weights(), before);
  auto const other = make();
  teach(alone, ShardPlan(4, 0, 1), *other, cells, {.steps = 6, .batch = 8}, 5, 3);
  EXPECT_NE(other->weights(), single->weights());  // another index, other cells
}

TEST(Teaching, ImageNetworkIsEqualOnRanks) { is_equal_on_ranks(image_network); }
TEST(Teaching, TransformerIsEqualOnRanks) { is_equal_on_ranks(transformer); }

TEST(Teaching, WeightsGoThereAndBack) {
  auto const first = transformer(), second = transformer();
  auto weights = first->weights();
  weights[10] += 1;
  second->set_weights(weights);
  EXPECT_EQ(second->weights(), weights);
}

TEST(Teaching, AClassOfOneCellIsLearnedAndAClassWithoutIsNotSaid) {
  World world(9, 4);
  world.labels = at::tensor({0, 0, 0, 0, 0, 0, 0, 1, 2});
  auto const student = transformer();
  teach(Communicator::serial(), ShardPlan(1, 0, 1), *student, teaching_cells(world.cells, world.labels, classes),
        {.steps = 100, .batch = 8, .rate = 3e-3}, 5, 0);
  EXPECT_GT(accuracy_of(*student, world), 0.85);
}

TEST(Teaching, RefusesWhatCannotTeach) {
  World world(8, 4);
  auto const student = transformer();
  Communicator const alone = Communicator::serial();
  failure_of(ExitCode::bad_input, [&] {
    teach(alone, ShardPlan(1, 0, 1), *student,
          teaching_cells(world.cells.narrow(0, 0, 0), world.labels.narrow(0, 0, 0), classes), {}, 5, 0);
  });
  world.cells.fill_(std::numeric_limits<float>::quiet_NaN());
  failure_of(ExitCode::failed, [&] {
    teach(alone, ShardPlan(1, 0, 1), *student, teaching_cells(world.cells, world.labels, classes), {.steps = 2}, 5, 0);
  });
}

}  // namespace
}  // namespace retort
