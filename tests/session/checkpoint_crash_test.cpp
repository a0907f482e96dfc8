// Every file operation of a checkpoint is a point at which the machine may die; what is read afterwards is the newest
// checkpoint that was whole.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../shared_folder.hpp"
#include "crashing_disk.hpp"
#include "retort/session/checkpoint.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

CheckpointState state_at(std::int64_t step) {
  return {
      step,
      {{"weights", at::full({5000}, static_cast<double>(step), at::kFloat)}, {"count", at::full({1}, step, at::kLong)}},
      {{"twice", 2 * step}}};
}

struct Stage {
  Communicator ranks = Communicator::serial();
  RunOptions run;
  OptionTable table{"retort-train-test", "a test"};
  RunFolder folder;
  Session session;
  explicit Stage(fs::path const& place) : folder(place, "train-test", true), session(ranks, folder, table, run) {
    session.is_done({});
  }
};

// Saves steps 3 and 4 in a process of its own that dies before file operation `at`; returns the last step whose save()
// had returned, and how many operations there were.
std::pair<int, int> save_until(fs::path const& place, int at) {
  int lines[2];
  EXPECT_EQ(pipe(lines), 0);
  pid_t const child = fork();
  if (child == 0) {
    close(lines[0]);
    Stage stage(place);
    Checkpoints const checkpoints(stage.session);
    CrashingDisk::watch((stage.folder.own() / "checkpoints").string(), at);
    int told[2] = {2, 0};
    for (int step : {3, 4}) {
      checkpoints.save(state_at(step));
      told[0] = step;
      told[1] = CrashingDisk::operations();
      if (::write(lines[1], told, sizeof told) != sizeof told) _exit(1);
    }
    _exit(0);
  }
  close(lines[1]);
  int told[2] = {2, 0}, next[2];
  while (read(lines[0], next, sizeof next) == sizeof next) std::copy(next, next + 2, told);
  close(lines[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9))
      << "operation " << at << ", status " << status;
  return {told[0], told[1]};
}

TEST(CheckpointCrash, TheNewestWholeOneIsReadAfterEveryOperation) {
  auto const ranks = Communicator::serial();
  SharedFolder folder(ranks, "crash");
  fs::path const good = folder / "good", place = folder / "run";
  {
    Stage stage(good);
    Checkpoints const checkpoints(stage.session);
    checkpoints.save(state_at(1));
    checkpoints.save(state_at(2));
  }
  fs::copy(good, place, fs::copy_options::recursive);
  auto const [last, operations] = save_until(place, 0);
  ASSERT_EQ(last, 4);
  ASSERT_GT(operations, 20) << "the disk sees too little";
  for (int at = 1; at <= operations; ++at) {
    fs::remove_all(place);
    fs::copy(good, place, fs::copy_options::recursive);
    auto const [saved, seen] = save_until(place, at);
    Stage stage(place);
    auto const found = Checkpoints(stage.session).newest();
    ASSERT_TRUE(found.has_value()) << "operation " << at << ": nothing to read";
    EXPECT_GE(found->step, saved) << "operation " << at << ": what save() had promised is lost";
    EXPECT_TRUE(at::equal(found->tensors.at("weights"), state_at(found->step).tensors.at("weights"))) << at;
    EXPECT_EQ(found->facts, state_at(found->step).facts) << at;
  }
  std::printf("%d operations of two checkpoints, each a crash point\n", operations);
}

}  // namespace
}  // namespace retort
