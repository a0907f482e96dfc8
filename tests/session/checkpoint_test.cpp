#include "retort/session/checkpoint.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "../shared_folder.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

// A stage of its own run folder, as a program has it.
struct Stage {
  Communicator const& ranks;
  SharedFolder shared;
  RunOptions run;
  OptionTable table{"retort-train-test", "a test"};
  RunFolder folder;
  Session session;

  explicit Stage(Communicator const& all)
      : ranks(all),
        shared(all, "checkpoint"),
        folder(shared.path, "train-test", all.is_root()),
        session(ranks, folder, table, run) {
    run.keep_checkpoints = 3;
    session.is_done({});
  }
  fs::path checkpoints() const { return folder.own() / "checkpoints"; }
};

CheckpointState state_at(std::int64_t step) {
  at::Tensor const values = at::arange(1000, at::kFloat) * static_cast<double>(step + 1) / 7.0;
  return {step,
          {{"weights", values.view({10, 100})},
           {"counts", at::arange(7, at::kLong) + step},
           {"empty", at::zeros({0}, at::kFloat)}},
          {{"loss", 0.1 * static_cast<double>(step)}}};
}

void expect_same(CheckpointState const& a, CheckpointState const& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.facts, b.facts);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (auto const& [name, tensor] : a.tensors) {
    EXPECT_EQ(tensor.sizes(), b.tensors.at(name).sizes()) << name;
    EXPECT_TRUE(at::equal(tensor, b.tensors.at(name))) << name;
  }
}

TEST(Checkpoints, GiveBackTheNewestAndKeepThree) {
  auto const ranks = Communicator::world();
  for (std::int64_t const stripe_bytes :
       {std::int64_t{1'000'000'000}, std::int64_t{1000}}) {  // one file, and one a rank
    Stage stage(ranks);
    Checkpoints const checkpoints(stage.session, stripe_bytes);
    EXPECT_FALSE(checkpoints.newest().has_value());
    for (std::int64_t step = 1; step <= 5; ++step) checkpoints.save(state_at(step));
    auto const found = checkpoints.newest();
    ASSERT_TRUE(found.has_value());
    expect_same(*found, state_at(5));
    ranks.barrier();
    std::vector<std::string> names;
    for (auto const& entry : fs::directory_iterator(stage.checkpoints())) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"latest", "step-3", "step-4", "step-5"}));
    auto const stripes =
        std::distance(fs::directory_iterator(stage.checkpoints() / "step-5"), fs::directory_iterator()) - 1;
    EXPECT_EQ(stripes, stripe_bytes > 1000 ? 1 : std::min<std::int64_t>(ranks.size(), 5));
    ranks.barrier();
  }
}

TEST(Checkpoints, OfOtherSettingsAreNotTaken) {
  auto const ranks = Communicator::world();
  Stage stage(ranks);
  Checkpoints const checkpoints(stage.session);
  checkpoints.save(state_at(4));
  stage.run.seed = 9;
  std::int64_t other = 1;
  OptionTable table("retort-train-test", "another");
  table.add("test.other", other, "changes the key");
  Session changed(ranks, stage.folder, table, stage.run);
  changed.is_done({});
  EXPECT_FALSE(Checkpoints(changed).newest().has_value());
  EXPECT_TRUE(checkpoints.newest().has_value());
}

// Every flipped bit of every file is found; then the one before is taken.
TEST(Checkpoints, HundredFlippedBitsAreFound) {
  auto const ranks = Communicator::world();
  Stage stage(ranks);
  Checkpoints const checkpoints(stage.session, 1000);
  checkpoints.save(state_at(1));
  checkpoints.save(state_at(2));
  std::vector<fs::path> files;
  for (auto const& entry : fs::directory_iterator(stage.checkpoints() / "step-2")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::mt19937 random(5);
  for (int flip = 0; flip < 100; ++flip) {
    auto const& file = files[random() % files.size()];
    auto const place = static_cast<std::streamoff>(random() % fs::file_size(file));
    auto const bit = static_cast<char>(1 << random() % 8);
    auto const toggle = [&] {
      ranks.barrier();
      if (ranks.is_root()) {
        std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
        stream.seekg(place);
        char const byte = static_cast<char>(stream.get() ^ bit);
        stream.seekp(place);
        stream.put(byte);
      }
      ranks.barrier();
    };
    toggle();
    auto const found = checkpoints.newest();
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->step, 1) << "bit " << int(bit) << " of byte " << place << " of " << file;
    toggle();
  }
  EXPECT_EQ(checkpoints.newest()->step, 2);
}

TEST(Restore, RefusesOtherShapes) {
  std::map<std::string, at::Tensor> into{
      {"weights", at::zeros({10, 100})}, {"counts", at::zeros({7}, at::kLong)}, {"empty", at::zeros({0})}};
  auto saved = state_at(3);
  restore(saved.tensors, into);
  EXPECT_TRUE(at::equal(into.at("weights"), saved.tensors.at("weights")));
  saved.tensors["weights"] = at::zeros({10, 99});
  EXPECT_THROW(restore(saved.tensors, into), Failure);
  saved.tensors.erase("weights");
  EXPECT_THROW(restore(saved.tensors, into), Failure);
}

}  // namespace
}  // namespace retort
