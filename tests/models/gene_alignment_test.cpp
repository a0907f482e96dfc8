// Renaming genes: order, missing, dropped and doubled symbols, against a dense table.
#include "retort/models/gene_alignment.hpp"

#include <gtest/gtest.h>

#include "../small_cells.hpp"

#include "retort/run/index.hpp"

using namespace retort;
using namespace retort::testing_cells;

TEST(GeneAlignment, IsTheDensePermutation) {
  auto const cells = random_cells(12, 9, 0.6, 3);
  GeneMap map;
  map.to = {4, -1, 0, 6, 4, 1, -1, 2, 5};  // gene 3 of the model is missing, genes 0 and 4 of the file are one
  map.rises = false;
  auto const aligned = align_genes(cells, map, 7);
  auto const from = dense(cells), expected = at::zeros({12, 7});
  for (std::int64_t g = 0; g < 9; ++g) {
    if (auto const to = map.to[index(g)]; to >= 0) expected.select(1, to).add_(from.select(1, g));
  }
  EXPECT_EQ(aligned.genes, 7);
  EXPECT_TRUE(at::equal(dense(aligned), expected));
  for (std::int64_t i = 0; i < aligned.rows(); ++i) {
    for (auto k = aligned.indptr[index(i)] + 1; k < aligned.indptr[index(i) + 1]; ++k) {
      EXPECT_LT(aligned.indices[index(k) - 1], aligned.indices[index(k)]);
    }
  }
}
