#include "retort/report/finished_run.hpp"

#include <gtest/gtest.h>

#include "../shared_folder.hpp"

using namespace retort;
namespace fs = std::filesystem;

namespace {

void write(fs::path const& file, std::string const& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

TEST(FinishedRun, TellsWhatIsThereAndWhatIsMissing) {
  auto const ranks = Communicator::serial();
  SharedFolder const folder(ranks, "finished_run");
  EXPECT_NE(failure_of(ExitCode::missing_input, [&] { files_of_page(folder.path); }).find("retort-ingest"),
            std::string::npos);
  write(folder / "atlas.h5ad", "");
  write(folder / "distill/DONE", "");
  EXPECT_EQ(files_of_page(folder.path), (std::vector<fs::path>{folder / "atlas.h5ad", folder / "distill/DONE"}));
  auto const bare = read_finished_run(folder.path);
  EXPECT_EQ(bare.missing.size(), 5u);
  EXPECT_TRUE(bare.stages.empty() && bare.scored.empty() && bare.results.is_null() && !bare.product);

  write(folder / "results.json", "{\"rows\": []");  // half of it
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { read_finished_run(folder.path); }).find("retort-evaluate again"),
            std::string::npos);
}

TEST(FinishedRun, ReadsLogsOfTheLastSettingsAndCountsResumedStepsOnce) {
  auto const ranks = Communicator::serial();
  SharedFolder const folder(ranks, "finished_run_log");
  write(folder / "distill/log.jsonl", R"({"event":"start","key":"old","time":1,"ranks":1}
{"event":"score","set":"old-dm-spc1-draw0","rate":1,"step":0,"loss":9,"held_out":1}
{"event":"end","exit_code":0,"time":3}
{"event":"start","key":"new","time":10,"ranks":2}
{"event":"score","set":"scdd-dm-spc1-draw0","rate":0.1,"step":10,"loss":2,"held_out":80}
{"event":"score","set":"scdd-dm-spc1-draw0","rate":0.1,"step":0,"loss":3,"held_out":70}
{"event":"end","exit_code":75,"time":12.5}
{"event":"start","key":"new","time":20,"ranks":2}
{"event":"score","set":"scdd-dm-spc1-draw0","rate":0.1,"step":10,"loss":2,"held_out":80}
{"event":"set","set":"scdd-dm-spc1-draw0","rate":0.1,"steps":10,"seconds":4}
{"event":"end","exit_code":0,"time":21.5}
{"event":"end","exit_code":0,"time":90}
{"event":"sco)");  // the start with "already done" tells an end alone
  write(folder / "train-diffusion/log.jsonl", R"({"event":"start","key":"k","time":1})");
  write(folder / "train-diffusion/steps.tsv", "step\tloss\n0\t2.5\n1\tnan\n2\t1.5\n3");
  auto const run = read_finished_run(folder.path);
  ASSERT_EQ(run.scored.size(), 2u);
  EXPECT_EQ(run.scored[0].step, 0);
  EXPECT_EQ(run.scored[1].held_out, 80);
  EXPECT_EQ(run.chosen.at("scdd-dm-spc1-draw0"), std::pair(0.1, 10.0));
  ASSERT_EQ(run.stages.size(), 2u);
  EXPECT_EQ(run.stages[1].verb, "distill");
  EXPECT_EQ(run.stages[1].ranks, 2);
  EXPECT_DOUBLE_EQ(run.stages[1].seconds, 4.0);
  EXPECT_FALSE(run.stages[1].is_done);
  EXPECT_EQ(run.steps.at("train-diffusion").at("step"), (std::vector<double>{0, 1, 2}));
  EXPECT_TRUE(std::isnan(run.steps.at("train-diffusion").at("loss")[1]));
}

TEST(FinishedRun, OfNewCellsMissesNoDistilledSet) {
  auto const ranks = Communicator::serial();
  SharedFolder const folder(ranks, "finished_run_cells");
  write(folder / "base/atlas.h5ad", "");
  write(folder / "base/vae/config.json", "{}");
  write(folder / "base/train-vae/log.jsonl", R"({"event":"start","key":"k","time":1})");
  write(folder / "base/train-vae/steps.tsv", "step\tloss\n0\t2.5\n");
  write(folder / "base/distill/log.jsonl", R"({"event":"start","key":"k","time":1})");
  write(folder / "run/generate/log.jsonl", R"({"event":"start","key":"k","time":1})");
  auto run = read_finished_run(folder / "run", folder / "base");
  ASSERT_EQ(run.stages.size(), 2u);  // the base's networks, not its sets
  EXPECT_EQ(run.stages[0].verb, "train-vae");
  EXPECT_EQ(run.stages[1].verb, "generate");
  EXPECT_EQ(run.steps.at("train-vae").at("loss"), std::vector<double>{2.5});
  ASSERT_EQ(run.missing.size(), 1u);
  EXPECT_NE(run.missing[0].find("retort-evaluate-generated"), std::string::npos);

  write(folder / "run/generation.json",
        R"({"rows": [{"set": "train cells"}, {"set": "a", "file": "/x/a.h5ad", "comparison": 1}], "comparisons": []})");
  run = read_finished_run(folder / "run", folder / "base");
  EXPECT_TRUE(run.missing.empty());
  auto const sets = generated_sets(run.generation);
  ASSERT_EQ(sets.size(), 1u);
  EXPECT_EQ(sets[0].file, "/x/a.h5ad");
  EXPECT_EQ(sets[0].comparison, 1u);
  EXPECT_TRUE(generated_sets(nullptr).empty());
  write(folder / "run/generation.json", "[]");
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { read_finished_run(folder / "run", folder / "base"); })
                .find("retort-evaluate-generated again"),
            std::string::npos);
}

TEST(RowNamed, IsNullWhereThereIsNone) {
  auto const rows = nlohmann::json::parse(R"([{"variant":"scdd","matching":"dm","spc":1,"accuracy_mean":5}])");
  EXPECT_EQ(row_named(rows, "scdd", "dm", 1)["accuracy_mean"], 5);
  EXPECT_TRUE(row_named(rows, "scdd", "dm", 10).is_null());
  EXPECT_TRUE(row_named(nullptr, "scdd", "dm", 10).is_null());
}

}  // namespace
