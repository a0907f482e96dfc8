// Where vectors of genes begin: against the singular vectors of the dense matrix, and on any number of ranks.
#include "retort/models/gene_components.hpp"

#include <gtest/gtest.h>

#include "../small_cells.hpp"
#include "retort/cells/csr_rows.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr std::int64_t width = 4, cells = 240, all_genes = 90;

// Counts whose genes go up and down together in three groups, each of its own strength.
CsrBlock grouped_cells() {
  CsrBlock block;
  block.genes = all_genes;
  for (std::int64_t c = 0; c < cells; ++c) {
    Random random(3, purpose::simulate, static_cast<std::uint64_t>(c));
    double const strength[] = {2.5 * random.normal(), 1.6 * random.normal(), random.normal()};
    for (std::int32_t g = 0; g + 1 < all_genes; ++g) {  // the last gene is nowhere
      double const count = std::floor(std::exp(0.2 * (g % 5) + 0.5 * strength[g % 3] + 0.3 * random.normal()));
      if (count > 0) block.indices.push_back(g), block.values.push_back(static_cast<float>(count));
    }
    block.indptr.push_back(std::ssize(block.indices));
  }
  return block;
}

at::Tensor components_of(CsrBlock const& block, at::Tensor const& start, Communicator const& ranks) {
  ShardPlan const plan(4, ranks.rank(), ranks.size());
  std::vector<CsrBlock> counts;
  for (int shard = plan.begin(); shard < plan.end(); ++shard)
    counts.push_back(cut_to_rows(block, share_of(block.rows(), shard, plan.shards())));
  return gene_components(ranks, plan, counts, start);
}

at::Tensor random_start() {
  at::manual_seed(1);
  return at::randn({all_genes, width});
}

TEST(GeneComponents, AreTheDirectionsOfTheDenseMatrix) {
  auto const block = grouped_cells();
  at::Tensor const found = components_of(block, random_start(), Communicator::world()).to(at::kDouble);

  CsrBlock logs = block;
  log_normalise(logs);
  at::Tensor const x = testing_cells::dense(logs).to(at::kDouble), centred = x - x.mean(0);
  at::Tensor const deviation = centred.square().mean(0).sqrt(),
                   z = at::where(deviation > 0, centred / deviation.clamp_min(1e-9), at::zeros_like(centred));
  at::Tensor const right = std::get<2>(at::linalg_svd(z, false));  // [.., genes]
  for (std::int64_t k = 0; k + 1 < width; ++k) {
    at::Tensor const ours = found.select(1, k + 1), theirs = right[k];
    EXPECT_GT(std::abs((ours * theirs).sum().item<double>()) / ours.norm().item<double>(), k < 2 ? 0.9999 : 0.99)
        << "component " << k;
  }
  at::Tensor const totals = testing_cells::dense(block).to(at::kDouble).sum(0).log1p(),
                   expected = (totals - totals.mean()) / totals.std(0, false);
  EXPECT_LT(testing_cells::largest_difference(found.select(1, 0), expected), 1e-5);
  EXPECT_LT(testing_cells::largest_difference(found.std(0, false), at::ones({width})), 1e-5);
}

TEST(GeneComponents, HaveTheSameBitsOnAnyNumberOfRanks) {
  auto const block = grouped_cells();
  EXPECT_TRUE(at::equal(components_of(block, random_start(), Communicator::world()),
                        components_of(block, random_start(), Communicator::serial())));
}

TEST(GeneComponents, WhatTheCellsDoNotDecideStays) {
  auto const two = cut_to_rows(grouped_cells(), {0, 2});  // they differ in one direction
  at::Tensor const start = random_start(), found = components_of(two, start, Communicator::world());
  EXPECT_FALSE(at::equal(found.select(1, 1), start.select(1, 1)));
  for (std::int64_t k = 2; k < width; ++k) EXPECT_TRUE(at::equal(found.select(1, k), start.select(1, k))) << k;

  at::Tensor const narrow = start.narrow(1, 0, 1),
                   wide = at::randn({all_genes, all_genes + 20});  // no component; more than genes
  EXPECT_TRUE(at::isfinite(components_of(two, narrow, Communicator::world())).all().item<bool>());
  EXPECT_TRUE(at::isfinite(components_of(two, wide, Communicator::world())).all().item<bool>());
}

TEST(GeneComponents, RefuseCellsOfOtherGenes) {
  EXPECT_THROW(components_of(grouped_cells(), at::randn({5, width}), Communicator::world()), Failure);
}

}  // namespace
}  // namespace retort
