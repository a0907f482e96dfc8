#include "retort/run/run_folder.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "retort/run/error.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

fs::path fresh(std::string const& name) {
  auto const path = fs::temp_directory_path() / ("run_folder_test_" + std::to_string(getpid())) / name;
  fs::remove_all(path);
  fs::create_directories(path.parent_path());
  return path;
}

TEST(RunFolder, a_stage_is_done_only_under_its_key) {
  RunFolder folder(fresh("stage"), "embed", true);
  EXPECT_FALSE(folder.is_done("a"));
  folder.set_done("a", {});
  EXPECT_TRUE(folder.is_done("a"));
  EXPECT_FALSE(folder.is_done("b"));
  folder.start("", "");  // beginning again takes the mark away: a stage cut short is not done
  EXPECT_FALSE(folder.is_done("a"));
}

TEST(RunFolder, the_key_follows_settings_and_inputs) {
  auto const input = fresh("input");
  write_text(input, "one");
  auto const before = stage_key("settings", {input});
  EXPECT_EQ(before, stage_key("settings", {input}));
  EXPECT_NE(before, stage_key("other settings", {input}));
  write_text(input, "longer");
  EXPECT_NE(before, stage_key("settings", {input}));
}

TEST(RunFolder, a_folder_that_cannot_be_made_ends_with_73) {
  auto const file = fresh("a_file");
  write_text(file, "in the way");
  try {
    RunFolder folder(file, "embed", true);
    FAIL() << "a file served as a folder";
  } catch (Failure const& failure) {
    EXPECT_EQ(failure.code, ExitCode::cannot_write);
  }
}

TEST(RunFolder, a_reader_sees_the_old_file_or_the_new_one) {
  auto const file = fresh("published");
  write_text(file, "old");
  std::ofstream(file.string() + ".pending") << "half";  // as a crash leaves it
  std::ifstream stream(file);
  std::string text;
  stream >> text;
  EXPECT_EQ(text, "old");
  write_text(file, "new");
  EXPECT_FALSE(fs::exists(file.string() + ".pending"));
}

TEST(RunFolder, steps_and_notes_are_lines) {
  RunFolder folder(fresh("lines"), "train", true);
  folder.step({"step", "loss"}, {0, 1.5});
  folder.step({"step", "loss"}, {1, 1.25});
  folder.note("end", {{"exit_code", 0}});
  std::ifstream steps(folder.own() / "steps.tsv");
  std::vector<std::string> lines;
  for (std::string line; std::getline(steps, line);) lines.push_back(line);
  EXPECT_EQ(lines, (std::vector<std::string>{"step\tloss", "0\t1.5", "1\t1.25"}));
  std::ifstream log(folder.own() / "log.jsonl");
  EXPECT_EQ(nlohmann::json::parse(log).at("exit_code"), 0);
}

}  // namespace
}  // namespace retort
