// Where a set starts and how its rows are cut for the work.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "retort/distill/chunks.hpp"
#include "retort/distill/initial_codes.hpp"

namespace retort {
namespace {

TEST(Chunks, AreWholeClassesAndDoNotDependOnRanks) {
  for (std::int64_t classes : {1, 2, 11, 44}) {
    for (std::int64_t spc : {1, 10, 64, 150}) {
      auto const alone = plan_chunks(classes, spc, 64, 1);
      for (int ranks : {1, 2, 3, 7}) {
        auto const chunks = plan_chunks(classes, spc, 64, ranks);
        EXPECT_EQ(chunks.size(), alone.size());
        std::int64_t row = 0;
        int owner = 0;
        for (std::size_t i = 0; i < chunks.size(); ++i) {
          EXPECT_EQ(chunks[i].rows.begin, row);
          EXPECT_EQ(chunks[i].rows.end, alone[i].rows.end);
          EXPECT_EQ(chunks[i].rows.size(), chunks[i].classes * spc);
          EXPECT_TRUE(chunks[i].owner >= owner && chunks[i].owner < ranks);
          owner = chunks[i].owner;
          for (auto const& piece : chunks[i].pieces) {
            EXPECT_EQ(piece.begin, row);
            EXPECT_TRUE(piece.size() > 0 && piece.size() <= 64);
            row = piece.end;
          }
        }
        EXPECT_EQ(row, classes * spc);
        EXPECT_TRUE(ranks != 2 || chunks.size() < 2 || chunks.back().owner == 1);
      }
    }
  }
}

TEST(InitialRows, AreOfTheClassAndRepeatOnlyWhereTheyMust) {
  std::vector<std::vector<std::int64_t>> const rows{{5}, {1, 2, 3, 9}, {0, 4, 6, 7, 8, 10, 11}};
  auto const chosen = initial_rows(rows, 3, 1, 0);
  EXPECT_EQ(chosen.size(), 9U);
  for (std::size_t i = 0; i < 9; ++i)
    EXPECT_TRUE(std::find(rows[i / 3].begin(), rows[i / 3].end(), chosen[i]) != rows[i / 3].end());
  EXPECT_EQ(chosen[0], 5);
  EXPECT_EQ(chosen[2], 5);
  EXPECT_NE(chosen[3], chosen[4]);
  EXPECT_NE(chosen[4], chosen[5]);
  EXPECT_NE(chosen[3], chosen[5]);
  EXPECT_EQ(initial_rows(rows, 1, 1, 0)[2], chosen[6]);  // a smaller set begins as the larger does
  EXPECT_NE(initial_rows(rows, 3, 1, 1), chosen);
}

TEST(GrownCodes, LieAroundTheSmallerSetAsTheyDidAmongThemselves) {
  at::manual_seed(4);
  at::Tensor const codes = at::randn({6, 5}), centres = at::randn({2, 5});  // three codes of each of two classes
  at::Tensor const grown = grown_codes(codes, centres, false);
  EXPECT_TRUE(at::allclose(grown.view({2, 3, 5}).mean(1), centres, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(grown[1] - grown[0], codes[1] - codes[0], 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(grown[5] - grown[3], codes[5] - codes[3], 1e-5, 1e-6));
  EXPECT_GE(grown_codes(codes, centres, true).min().item<float>(), 0.0F);
}

}  // namespace
}  // namespace retort
