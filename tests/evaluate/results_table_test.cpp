#include "retort/evaluate/results_table.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

using namespace retort;

namespace {

double const nothing = std::numeric_limits<double>::quiet_NaN();

HeadScores heads(std::vector<double> const& accuracies, double held_out) {
  HeadScores scores;
  for (double const accuracy : accuracies) {
    scores.test.push_back({accuracy, accuracy - 10, {accuracy + 1, nothing}});
    scores.held_out.push_back(held_out);
  }
  return scores;
}

TEST(RowOf, AveragesHeadsAndDraws) {
  auto const row = row_of("scdd", "dm", 1, {heads({80, 82}, 70), heads({90, 92}, 80)}, 3);
  EXPECT_EQ(row.draws, 2);
  EXPECT_DOUBLE_EQ(row.accuracy_mean, 86);
  EXPECT_NEAR(row.accuracy_sd, std::sqrt((36 + 16 + 16 + 36) / 3.0), 1e-12);
  EXPECT_NEAR(row.accuracy_sd_draws, std::sqrt(50.0), 1e-12);
  EXPECT_DOUBLE_EQ(row.macro_f1, 76);
  EXPECT_DOUBLE_EQ(*row.held_out_accuracy, 75);
  EXPECT_DOUBLE_EQ(row.recall[0], 87);
  EXPECT_TRUE(std::isnan(row.recall[1]));
  auto const one = row_of("genes", "", 0, {{{{97, 96, {97}}}, {}}}, 0);
  EXPECT_EQ(one.accuracy_sd, 0);
  EXPECT_EQ(one.accuracy_sd_draws, 0);
  EXPECT_FALSE(one.held_out_accuracy.has_value());
}

TEST(AddHeadroom, TakesRandomOfTheSameSpc) {
  std::vector<ResultRow> rows{
      row_of("full", "", 0, {heads({90}, 0)}, 0),    row_of("random", "", 1, {heads({50}, 0)}, 0),
      row_of("random", "", 10, {heads({80}, 0)}, 0), row_of("scdd", "dm", 1, {heads({80}, 0)}, 0),
      row_of("scdd", "dm", 10, {heads({85}, 0)}, 0), row_of("scdd", "dm", 2, {heads({85}, 0)}, 0)};
  add_headroom(rows);
  EXPECT_FALSE(rows[0].headroom.has_value());
  EXPECT_DOUBLE_EQ(*rows[1].headroom, 0);
  EXPECT_DOUBLE_EQ(*rows[3].headroom, 0.75);
  EXPECT_DOUBLE_EQ(*rows[4].headroom, 0.5);
  EXPECT_FALSE(rows[5].headroom.has_value());
}

TEST(JsonOf, HoldsThePromisedKeysAndLeavesOutClassesWithoutTestCells) {
  std::vector<ResultRow> const rows{row_of("scdd", "dc", 10, {heads({80, 82}, 70)}, 3)};
  auto const json = json_of(rows, {"T", "B"});
  auto const& row = json.at("rows").at(0);
  EXPECT_EQ(row.at("variant"), "scdd");
  EXPECT_EQ(row.at("matching"), "dc");
  EXPECT_EQ(row.at("spc"), 10);
  EXPECT_EQ(row.at("draws"), 1);
  EXPECT_EQ(row.at("accuracy_mean"), 81.0);
  EXPECT_NEAR(row.at("accuracy_sd").get<double>(), std::sqrt(2.0), 1e-12);
  EXPECT_EQ(row.at("macro_f1"), 71.0);
  EXPECT_EQ(row.at("seconds"), 3.0);
  EXPECT_TRUE(row.at("headroom").is_null());
  EXPECT_EQ(row.at("recall"), (nlohmann::json{{"T", 82.0}}));
}

TEST(TableOf, HasAHeaderAndOneLineARow) {
  auto row = row_of("full", "", 0, {heads({90.123, 90.125}, 0)}, 12.3456);
  auto other = row_of("scdd", "dm+dc", 10, {heads({81}, 0)}, 1);
  other.headroom = 0.5;
  auto const table = table_of({row, other});
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 3);
  EXPECT_NE(table.find("90.12 ± 0.00"), std::string::npos);
  EXPECT_NE(table.find(" all "), std::string::npos);
  EXPECT_NE(table.find("50.0 %"), std::string::npos);
  EXPECT_NE(table.find("dm+dc"), std::string::npos);
}

}  // namespace
