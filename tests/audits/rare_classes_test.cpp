#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "retort/audits/audits.hpp"

using namespace retort;

namespace {

TEST(RareClassRecall, TakesSmallClassesAndTheThreeRarestWithTestCells) {
  RowsByClass const train{std::vector<std::int64_t>(50),
                          std::vector<std::int64_t>(4),
                          std::vector<std::int64_t>(30),
                          std::vector<std::int64_t>(40),
                          {},
                          std::vector<std::int64_t>(60)};
  ResultRow row;
  row.variant = "scdd";
  row.matching = "dm";
  row.spc = 1;
  row.recall = {10, std::numeric_limits<double>::quiet_NaN(), 20, 30, 0, 40};
  auto const rare = rare_class_recall({row}, train, {"a", "one \"left\"", "c", "d", "empty", "f"});
  EXPECT_EQ(rare["train_cells"], (nlohmann::json{{"one \"left\"", 4}, {"c", 30}, {"d", 40}, {"a", 50}}));
  EXPECT_EQ(rare["rows"][0]["set"], "scdd-dm-spc1");
  EXPECT_EQ(rare["rows"][0]["recall"],
            (nlohmann::json{{"one \"left\"", nullptr}, {"c", 20.0}, {"d", 30.0}, {"a", 10.0}}));
  EXPECT_TRUE(rare_class_recall({}, train, {}).is_null());
}

}  // namespace
