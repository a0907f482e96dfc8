// Size factors on any number of ranks against sums over a matrix in memory, and as a generator keeps them.
#include "retort/generate/size_factors.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "../shared_folder.hpp"
#include "retort/cells/batch_stream.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t types = 4;

class SizeFactorsTest : public testing::Test {
 protected:
  SizeFactorsTest() {
    SimulateOptions options;
    options.cells = 2300, options.genes = 60, options.types = types;  // more rows a rank than are read at once
    simulate(ranks, options, 3, folder / "atlas.h5ad");
    atlas = std::make_unique<Atlas>(folder / "atlas.h5ad");
    rows = rows_of_part(*atlas, Part::fit);
    codes = atlas->labels("cell_type").codes;
    for (auto& code : codes) code += code >= 2;  // no cell is of class 2
  }

  Communicator const ranks = Communicator::world();
  SharedFolder const folder{ranks, "size_factors"};
  std::unique_ptr<Atlas> atlas;
  std::vector<std::int64_t> rows;
  std::vector<std::int32_t> codes;
};

TEST_F(SizeFactorsTest, AreThoseOfOneRank) {
  auto const together = size_factors(ranks, *atlas, rows, codes, types + 1);
  auto const alone = size_factors(Communicator::serial(), *atlas, rows, codes, types + 1);
  EXPECT_EQ(json_of(together), json_of(alone));  // to the last bit
  ASSERT_EQ(together.of_class.size(), 5U);
  EXPECT_EQ(together.of_all.cells, std::ssize(rows));

  for (std::int32_t c = -1; c <= types; ++c) {
    std::vector<double> logs;
    for (std::int64_t const row : rows) {
      if (c >= 0 && codes[index(row)] != c) continue;
      auto const cell = atlas->read(row, row + 1);
      double sum = 0;
      for (float const value : cell.values) sum += value;
      logs.push_back(std::log(std::max(sum, 1.0)));  // some of these cells are empty
    }
    auto const& found = c < 0 ? together.of_all : together.of_class[index(c)];
    if (logs.empty()) {
      EXPECT_EQ(c, 2);
      continue;
    }
    double mean = 0, squares = 0;
    for (double const log : logs) mean += log / static_cast<double>(logs.size());
    for (double const log : logs) squares += (log - mean) * (log - mean);
    EXPECT_NEAR(found.mean, mean, 1e-10) << c;
    EXPECT_NEAR(found.deviation, std::sqrt(squares / static_cast<double>(logs.size())), 1e-10) << c;
    EXPECT_EQ(found.cells, std::ssize(logs));
  }
}

TEST_F(SizeFactorsTest, AClassWithoutCellsIsOfAll) {
  auto const factors = size_factors(ranks, *atlas, rows, codes, types + 1);
  EXPECT_EQ(factors.of_class[2].mean, factors.of_all.mean);
  EXPECT_EQ(factors.of_class[2].deviation, factors.of_all.deviation);
  EXPECT_EQ(factors.of_class[2].cells, factors.of_all.cells);
  EXPECT_NE(factors.of_class[1].mean, factors.of_all.mean);
  EXPECT_EQ(factors.draw(2, 1, 5), factors.draw(-1, 1, 5));
  EXPECT_NE(factors.draw(1, 1, 5), factors.draw(-1, 1, 5));
}

TEST_F(SizeFactorsTest, AClassWithoutCellsIsOfItsGroup) {
  std::vector<std::int64_t> const group_of{0, 0, 0, 1, 1};
  auto const factors = size_factors(ranks, *atlas, rows, codes, types + 1, group_of);
  auto groups = codes;
  for (auto& code : groups) code = static_cast<std::int32_t>(group_of[index(code)]);
  auto const of_group = size_factors(ranks, *atlas, rows, groups, 2).of_class[0];
  EXPECT_EQ(factors.of_class[2].mean, of_group.mean);
  EXPECT_EQ(factors.of_class[2].cells, of_group.cells);
  EXPECT_LT(of_group.cells, factors.of_all.cells);
  EXPECT_EQ(factors.of_class[1].mean, size_factors(ranks, *atlas, rows, codes, types + 1).of_class[1].mean);
}

TEST_F(SizeFactorsTest, FewerRowsThanRanks) {
  std::vector<std::int64_t> const one{rows[7]};
  auto const factors = size_factors(ranks, *atlas, one, codes, types + 1);
  auto const own = index(codes[index(rows[7])]);
  EXPECT_EQ(factors.of_class[own].cells, 1);
  EXPECT_EQ(factors.of_all.deviation, 0);
  EXPECT_NEAR(factors.draw(-1, 3, 9), std::exp(factors.of_all.mean), 1e-9 * std::exp(factors.of_all.mean));
}

TEST(SizeFactors, DrawsAreLogNormalAndARowsOwn) {
  SizeFactors const factors{{{5, 0.2, 10}, {8, 0, 10}}, {7, 1.5, 20}};
  double sum = 0, squares = 0;
  constexpr std::int64_t rows = 40'000;
  for (std::int64_t row = 0; row < rows; ++row) {
    double const log = std::log(factors.draw(-1, 3, row));
    sum += log, squares += (log - 7) * (log - 7);
  }
  EXPECT_NEAR(sum / rows, 7, 0.03);
  EXPECT_NEAR(std::sqrt(squares / rows), 1.5, 0.03);
  EXPECT_NEAR(factors.draw(1, 3, 4), std::exp(8), 1e-6);
  EXPECT_EQ(factors.draw(0, 3, 4), factors.draw(0, 3, 4));
  EXPECT_NE(factors.draw(0, 3, 4), factors.draw(0, 3, 5));
  EXPECT_NE(factors.draw(0, 3, 4), factors.draw(0, 4, 4));
}

TEST(SizeFactors, AreReadAsTheyWereWritten) {
  SizeFactors const factors{{{5.1, 0.2, 10}, {1.0 / 3, 0, 1}}, {7, 1.5, 11}};
  auto const text = json_of(factors).dump();
  EXPECT_EQ(json_of(size_factors_of(nlohmann::json::parse(text), 2, "config.json")).dump(), text);
  auto const refused = [](std::string const& broken, std::int64_t classes = 1) {
    return failure_of(ExitCode::bad_input,
                      [&] { size_factors_of(nlohmann::json::parse(broken), classes, "config.json"); });
  };
  EXPECT_NE(refused(text, 3).find("2 classes (it has 3)"), std::string::npos);
  for (auto const* one :
       {"{}", "[]", "7", "null", R"({"classes": [[1, 1, 1]]})", R"({"all": [1, 1, 1]})",
        R"({"classes": [[1, 1]], "all": [1, 1, 1]})", R"({"classes": [["a", 1, 1]], "all": [1, 1, 1]})",
        R"({"classes": [[1, -1, 1]], "all": [1, 1, 1]})", R"({"classes": [[1, 1, 1]], "all": [1e3, 1, 1]})",
        R"({"classes": [[1, null, 1]], "all": [1, 1, 1]})", R"({"classes": [[1, 1e9, 1]], "all": [1, 1, 1]})",
        R"({"classes": {"a": 1}, "all": [1, 1, 1]})"})
    EXPECT_NE(refused(one).find("'config.json'"), std::string::npos) << one;
}

}  // namespace
}  // namespace retort
