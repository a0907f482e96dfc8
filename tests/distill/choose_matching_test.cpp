// Every matching as the loop asks it: steps that lower the loss that states are compared by, the same bits on any
// number of ranks, and what it goes on from after a restart.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "../small_cells.hpp"
#include "retort/distill/matching.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

using testing_cells::dense;
using testing_cells::random_cells;

constexpr std::int64_t genes = 40, classes = 3, latent = 6, spc = 2;
constexpr double scale = 2.5;

struct World {
  Foundation encoder{{.genes = genes, .hidden = {12, 10}, .latent = latent}, 4};
  CsrBlock cells = random_cells(45, genes, 0.4, 8);
  std::vector<std::vector<std::int64_t>> rows_by_class{{}, {}, {}};
  at::Tensor start = dense(random_cells(classes * spc, genes, 0.5, 9));

  World() {
    encoder.freeze();
    for (std::int64_t row = 0; row < 45; ++row) rows_by_class[index(row % classes)].push_back(row);
  }
};

CsrBlock rows_of(CsrBlock const& cells, std::span<std::int64_t const> rows) {
  CsrBlock out;
  out.genes = cells.genes;
  for (auto const row : rows) {
    for (auto k = cells.indptr[index(row)]; k < cells.indptr[index(row) + 1]; ++k) {
      out.indices.push_back(cells.indices[index(k)]);
      out.values.push_back(cells.values[index(k)]);
    }
    out.indptr.push_back(std::ssize(out.indices));
  }
  return out;
}

// One way to match on some ranks, with its set of plain cells.
struct Trial {
  Trial(World& world, Communicator const& of, std::string const& name, DistillOptions const& asked)
      : ranks(of),
        options(asked),
        plan(4, ranks.rank(), ranks.size()),
        features([&](auto rows) { return world.encoder.encode(dense(rows_of(world.cells, rows))); }, latent,
                 world.rows_by_class, plan, scale),
        real(ranks, plan, features, scale,
             {[&](auto rows) { return rows_of(world.cells, rows); }, world.rows_by_class, genes}, {name},
             {.student_expert = options.student_expert(),
              .encoder = options.encoder_unfrozen() ? &world.encoder : nullptr,
              .real_cells = 0,
              .head_training = {20, 0.05, 0.9, 5e-4},
              .seed = 3}),
        variant(cell_variant()),
        chunks(plan_chunks(classes, spc, spc, ranks.size())),
        set(ranks, variant, world.encoder, chunks, {true, 0.5, true, false},
            [&](RowRange rows) { return world.start.narrow(0, rows.begin, rows.size()).clone(); }),
        matching(choose_matching(matching_parts(name), real, options, {.rate = 0.05, .batch = 4}, spc)) {}

  void step(std::int64_t iteration) {
    MatchingStep const at{0, iteration};
    matching->prepare(at, matching->sees_set() ? set.forward(matching->sees_cells()) : SyntheticSet::Forward{});
    set.step([&](Chunk const& chunk, at::Tensor const& of_chunk) { return matching->match(chunk, of_chunk); }, 0.05);
    matching->learn(at, set);
  }
  double loss() const { return matching->loss(set.features(), set.cells()); }

  Communicator const& ranks;
  DistillOptions options;
  ShardPlan plan;
  RealFeatures features;
  RealSide real;
  Variant variant;
  std::vector<Chunk> chunks;
  SyntheticSet set;
  std::unique_ptr<Matching> matching;
};

struct Way {
  std::string name, heads = "shared", encoder = "frozen";
};
std::vector<Way> const ways{
    {"dm"},   {"dc"},    {"dm+dc"},      {"dc", "student_expert"},   {"dc", "shared", "unfrozen"},
    {"head"}, {"genes"}, {"head+genes"}, {"dm+dc", "student_expert"}};

DistillOptions options_of(Way const& way) {
  DistillOptions options;
  options.heads = way.heads;
  options.encoder = way.encoder;
  options.outer_steps = 3;
  options.inner_epochs = 2;
  return options;
}

TEST(ChooseMatching, StepsLowerTheLossThatStatesAreComparedBy) {
  World world;
  auto const ranks = Communicator::world();
  for (Way const& way : ways) {
    Trial run(world, ranks, way.name, options_of(way));
    double const first = run.loss();
    for (std::int64_t iteration = 0; iteration < 25; ++iteration) run.step(iteration);
    EXPECT_LT(run.loss(), first) << way.name << " " << way.heads << " " << way.encoder;
  }
}

TEST(ChooseMatching, SameBitsOnAnyNumberOfRanks) {
  World world;
  auto const ranks = Communicator::world(), alone = Communicator::serial();
  for (Way const& way : ways) {
    Trial ours(world, ranks, way.name, options_of(way)), theirs(world, alone, way.name, options_of(way));
    for (std::int64_t iteration = 0; iteration < 4; ++iteration) ours.step(iteration), theirs.step(iteration);
    EXPECT_TRUE(at::equal(ours.set.codes(), theirs.set.codes())) << way.name << " " << way.heads << " " << way.encoder;
    EXPECT_EQ(ours.loss(), theirs.loss()) << way.name;
  }
}

// Cut between two draws of a head: without the head the later steps are others.
TEST(ChooseMatching, GoesOnFromItsState) {
  World world;
  auto const ranks = Communicator::world();
  for (Way const& way : ways) {
    Trial uncut(world, ranks, way.name, options_of(way)), again(world, ranks, way.name, options_of(way));
    for (std::int64_t iteration = 0; iteration < 2; ++iteration) uncut.step(iteration);
    again.set.restore(uncut.set.state());
    again.matching->restore(uncut.matching->state());
    for (std::int64_t iteration = 2; iteration < 5; ++iteration) uncut.step(iteration), again.step(iteration);
    EXPECT_TRUE(at::equal(uncut.set.codes(), again.set.codes())) << way.name << " " << way.heads << " " << way.encoder;
  }
}

// The sum of two matchings is what each gives, added.
TEST(ChooseMatching, SumsAreOfTheirParts) {
  World world;
  auto const ranks = Communicator::world();
  Trial both(world, ranks, "head+genes", {}), head(world, ranks, "head", {}), genes_alone(world, ranks, "genes", {});
  for (auto* run : {&both, &head, &genes_alone}) run->matching->prepare({0, 0}, run->set.forward(true));
  Chunk const& chunk = both.chunks[1];
  at::Tensor const features = both.set.features().narrow(0, chunk.rows.begin, chunk.rows.size());
  auto const sum = both.matching->match(chunk, features), of_head = head.matching->match(chunk, features),
             of_genes = genes_alone.matching->match(chunk, features);
  EXPECT_TRUE(at::equal(sum.gradient, of_head.gradient));
  EXPECT_TRUE(at::equal(sum.by_cells, of_genes.by_cells));
  EXPECT_FALSE(of_genes.gradient.defined());
  EXPECT_EQ(both.loss(), head.loss() + genes_alone.loss());
}

}  // namespace
}  // namespace retort
