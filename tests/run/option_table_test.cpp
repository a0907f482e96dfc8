#include "retort/run/option_table.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "retort/run/error.hpp"

namespace retort {
namespace {

struct Settings {
  std::int64_t batch = 256;
  double rate = 1e-3;
  bool balanced = false;
  std::string label;
  std::vector<std::int64_t> spc{1, 10};
};

Request parse(Settings& settings, std::vector<char const*> arguments) {
  OptionTable table("retort-test", "a test", {"run", "ingest", "distill"});
  table.add("distill.batch", settings.batch, "cells per step")
      .add("distill.rate", settings.rate, "rate")
      .add("distill.balanced", settings.balanced, "balance")
      .add("distill.label", settings.label, "column")
      .add("distill.spc", settings.spc, "cells per class");
  arguments.insert(arguments.begin(), "retort-test");
  return table.parse(static_cast<int>(arguments.size()), arguments.data());
}

std::string refusal(std::vector<char const*> arguments) {
  Settings settings;
  try {
    parse(settings, std::move(arguments));
  } catch (Failure const& failure) {
    EXPECT_EQ(failure.code, ExitCode::usage);
    return failure.what();
  }
  return "";
}

std::string write(std::string const& text) {
  auto const file =
      (std::filesystem::temp_directory_path() / ("option_table_test_" + std::to_string(getpid()) + ".ini")).string();
  std::ofstream(file) << text;
  return file;
}

TEST(OptionTable, command_line_over_file_over_default) {
  auto const file = write("[distill]\nbatch = 64\nrate = 0.5\n");
  Settings settings;
  EXPECT_EQ(
      parse(settings, {"--config", file.c_str(), "--distill.batch", "32", "--distill.spc=5,50", "--distill.balanced"}),
      Request::run);
  EXPECT_EQ(settings.batch, 32);
  EXPECT_EQ(settings.rate, 0.5);
  EXPECT_TRUE(settings.balanced);
  EXPECT_EQ(settings.spc, (std::vector<std::int64_t>{5, 50}));
}

TEST(OptionTable, unknown_keys_name_the_nearest) {
  EXPECT_NE(refusal({"--distill.bacth", "3"}).find("Did you mean 'distill.batch'?"), std::string::npos);
  auto const file = write("[distill]\nrates = 1\n");
  auto const text = refusal({"--config", file.c_str()});
  EXPECT_NE(text.find("Did you mean 'distill.rate'?"), std::string::npos);
  EXPECT_NE(text.find(file), std::string::npos);
}

TEST(OptionTable, abbreviations_and_bad_values_are_refused) {
  EXPECT_NE(refusal({"--distill.bat", "3"}), "");
  EXPECT_NE(refusal({"--distill.batch", "many"}).find("'many'"), std::string::npos);
  EXPECT_NE(refusal({"--distill.batch", "3x"}), "");
  EXPECT_NE(refusal({"stray"}).find("stray"), std::string::npos);
}

TEST(OptionTable, sections_of_other_programs_are_skipped_and_unknown_ones_are_not) {
  auto const shared = write("[ingest]\nlabel = cell_type\n[distill]\nbatch = 8\n");
  Settings settings;
  parse(settings, {"--config", shared.c_str()});
  EXPECT_EQ(settings.batch, 8);
  auto const misspelt = write("[distil]\nbatch = 8\n");
  EXPECT_NE(refusal({"--config", misspelt.c_str()}).find("Did you mean 'distill.batch'?"), std::string::npos);
  auto const nobodys = write("[head]\nepochs = 8\n");  // of no section that this table was told of
  EXPECT_NE(refusal({"--config", nobodys.c_str()}).find("unknown setting 'head.epochs'"), std::string::npos);
}

TEST(OptionTable, the_echo_read_back_gives_the_same_settings) {
  Settings first;
  first.rate = 0.1 + 0.2;
  first.label = "cell type";
  OptionTable table("retort-test", "a test");
  table.add("distill.batch", first.batch, "cells")
      .add("distill.rate", first.rate, "rate")
      .add("distill.label", first.label, "column");
  auto const file = write(table.ini());
  Settings second;
  parse(second, {"--config", file.c_str()});
  EXPECT_EQ(second.rate, first.rate);
  EXPECT_EQ(second.label, first.label);
}

TEST(OptionTable, the_fingerprint_leaves_out_what_decides_nothing) {
  std::string folder = "a";
  std::int64_t shards = 4, seed = 1;
  auto const fingerprint = [&](bool shards_matter) {
    OptionTable table("retort-test", "a test");
    if (!shards_matter) table.without_effect("run.shards");
    table.add("run.folder", folder, "where").add("run.shards", shards, "shards").add("run.seed", seed, "seed");
    return table.fingerprint();
  };
  auto const with = fingerprint(true), without = fingerprint(false);
  folder += "b";
  EXPECT_EQ(fingerprint(true), with);
  shards = 8;
  EXPECT_NE(fingerprint(true), with);
  EXPECT_EQ(fingerprint(false), without);
  seed = 2;
  EXPECT_NE(fingerprint(false), without);
}

TEST(OptionTable, sizes_have_units) {
  EXPECT_EQ(parse_bytes("2GB", "x"), 2'000'000'000);
  EXPECT_EQ(parse_bytes("1.5 KiB", "x"), 1536);
  EXPECT_THROW(parse_bytes("much", "x"), Failure);
}

}  // namespace
}  // namespace retort
