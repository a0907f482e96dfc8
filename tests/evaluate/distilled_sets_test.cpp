#include "retort/evaluate/distilled_sets.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "retort/files/h5ad_writer.hpp"
#include "retort/run/error.hpp"

using namespace retort;

namespace {

struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("retort_distilled_sets_" + std::to_string(getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

TEST(ParseDistilledName, KnowsItsForm) {
  auto const name = parse_distilled_name("run/distilled/scdd-dm+dc-spc10-draw3.h5ad");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(*name, (DistilledName{"scdd", "dm+dc", 10, 3}));
  for (char const* other :
       {"distilled.h5ad", "scdd-dm-spc1.h5ad", "scdd-dm-spc1-draw0.h5ad.pending", "scdd-dm-spcx-draw0.h5ad"})
    EXPECT_FALSE(parse_distilled_name(other).has_value()) << other;
}

TEST(FindDistilled, SortsBySpcThenNameThenDraw) {
  Folder const folder;
  for (char const* name : {"scdd-dm-spc10-draw0.h5ad", "scdd-dm-spc1-draw10.h5ad", "scdd-dm-spc1-draw2.h5ad",
                           "cells-dc-spc1-draw0.h5ad", "notes.txt"})
    std::ofstream(folder.path / name) << "x";
  std::vector<std::string> found;
  for (auto const& file : find_distilled(folder.path)) found.push_back(file.file.filename());
  EXPECT_EQ(found, (std::vector<std::string>{"cells-dc-spc1-draw0.h5ad", "scdd-dm-spc1-draw2.h5ad",
                                             "scdd-dm-spc1-draw10.h5ad", "scdd-dm-spc10-draw0.h5ad"}));
  EXPECT_TRUE(find_distilled(folder.path / "nowhere").empty());
}

TEST(DistillingSeconds, TakesTheLastWordAndSkipsHalfALine) {
  Folder const folder;
  std::ofstream(folder.path / "log.jsonl") << R"({"event":"set","set":"a","seconds":1.5})"
                                              "\n"
                                              R"({"event":"score","set":"a","step":3})"
                                              "\n"
                                              R"({"event":"set","set":"a","seconds":2.5})"
                                              "\n"
                                              R"({"event":"se)";
  EXPECT_EQ(distilling_seconds(folder.path / "log.jsonl"), (std::map<std::string, double>{{"a", 2.5}}));
  EXPECT_TRUE(distilling_seconds(folder.path / "none").empty());
}

TEST(ReadDistilled, MatchesLabelsByNameAndRefusesOtherGenes) {
  Folder const folder;
  CellSet set;
  set.cells = 3;
  set.genes = 2;
  set.x = {1, 2, 3, 4, 5, 6};
  set.gene_names = {"A", "B"};
  set.columns.push_back({"type", {"T", "B"}, {0, 1, 1}});
  auto const file = folder.path / "scdd-dm-spc1-draw0.h5ad";
  write_cell_set(file, set, {{"retort", {{"atlas", "these cells"}}}});
  auto const read = read_distilled(file, {"A", "B"}, "type", {"B", "NK", "T"}, "these cells");
  EXPECT_TRUE(at::equal(read.labels, at::tensor(std::vector<std::int64_t>{2, 0, 0})));
  EXPECT_TRUE(at::equal(read.cells, at::tensor({1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F}).view({3, 2})));
  auto const refusal = [&](auto const& genes, std::string const& column, std::vector<std::string> const& names,
                           std::string const& atlas = "these cells") {
    try {
      read_distilled(file, genes, column, names, atlas);
    } catch (Failure const& failure) {
      return failure.code;
    }
    return ExitCode::ok;
  };
  std::vector<std::string> const genes{"A", "B"};
  EXPECT_EQ(refusal(std::vector<std::string>{"B", "A"}, "type", {"B", "T"}), ExitCode::bad_input);
  EXPECT_EQ(refusal(genes, "kind", {"B", "T"}), ExitCode::bad_input);
  EXPECT_EQ(refusal(genes, "type", {"B"}), ExitCode::bad_input);
  EXPECT_EQ(refusal(genes, "type", {"B", "T"}, "cells of another split"), ExitCode::bad_input);
  EXPECT_EQ(refusal(genes, "type", {"B", "T"}), ExitCode::ok);
  set.x[3] = std::numeric_limits<float>::quiet_NaN();
  write_cell_set(file, set, {{"retort", {{"atlas", "these cells"}}}});
  EXPECT_EQ(refusal(genes, "type", {"B", "T"}), ExitCode::bad_input);
}

}  // namespace
