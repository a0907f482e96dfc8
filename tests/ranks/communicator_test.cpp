#include "retort/ranks/communicator.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

TEST(Communicator, a_serial_one_acts_alone) {
  auto const serial = Communicator::serial();
  EXPECT_EQ(serial.size(), 1);
  EXPECT_EQ(serial.sum(3.5), 3.5);
  EXPECT_EQ(serial.gather(std::int64_t{4}), std::vector<std::int64_t>{4});
  EXPECT_EQ(serial.exchange(std::vector<std::vector<int>>{{1, 2}}), (std::vector<int>{1, 2}));
}

TEST(Communicator, sums_and_extremes) {
  auto const world = Communicator::world();
  int const last = world.size() - 1;
  EXPECT_EQ(world.sum(std::int64_t{world.rank()}), last * (last + 1) / 2);
  EXPECT_EQ(world.max(world.rank()), last);
  EXPECT_EQ(world.min(world.rank()), 0);
  std::vector<std::int64_t> values{1, world.rank()};
  world.sum(std::span(values));
  EXPECT_EQ(values[0], world.size());
  EXPECT_EQ(values[1], last * (last + 1) / 2);
}

TEST(Communicator, gather_joins_shares_of_any_length_in_rank_order) {
  auto const world = Communicator::world();
  std::vector<int> const mine(index(world.rank()), world.rank());  // rank 0 has none
  std::vector<int> expected;
  for (int r = 0; r < world.size(); ++r) expected.insert(expected.end(), index(r), r);
  EXPECT_EQ(world.gather(std::span<int const>(mine)), expected);
  auto const texts = world.gather(std::string(index(world.rank()), 'x'));
  EXPECT_EQ(texts.size(), index(world.size()));
  EXPECT_EQ(texts.back().size(), index(world.size() - 1));
}

TEST(Communicator, exchange_delivers_in_rank_order) {
  auto const world = Communicator::world();
  std::vector<std::vector<std::int64_t>> to(index(world.size()));
  for (int r = 0; r < world.size(); ++r) to[index(r)].assign(index(r), 100 * world.rank() + r);
  std::vector<std::int64_t> expected;
  for (int r = 0; r < world.size(); ++r) expected.insert(expected.end(), index(world.rank()), 100 * r + world.rank());
  EXPECT_EQ(world.exchange(to), expected);
}

TEST(Communicator, a_failure_of_one_rank_is_everyones) {
  auto const world = Communicator::world();
  int const culprit = world.size() - 1;
  try {
    world.together([&] {
      if (world.rank() == culprit) fail(ExitCode::bad_input, "row {} is bad", 17);
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (Failure const& failure) {
    EXPECT_STREQ(failure.what(), "row 17 is bad");
    EXPECT_EQ(failure.code, ExitCode::bad_input);
    EXPECT_TRUE(failure.agreed);
    EXPECT_EQ(failure.first_rank, culprit);
  }
  EXPECT_NO_THROW(world.together([] {}));
}

TEST(Communicator, what_work_returns_is_each_ranks_own) {
  auto const world = Communicator::world();
  EXPECT_EQ(world.together([&] { return 10 + world.rank(); }), 10 + world.rank());
  auto const held = world.together([&] { return std::make_unique<int>(world.rank()); });  // movable alone
  EXPECT_EQ(*held, world.rank());
  auto const refused = [&] {
    world.together([&]() -> std::vector<int> {
      if (world.is_root()) fail(ExitCode::usage, "no vector");
      return {1, 2};
    });
  };
  EXPECT_THROW(refused(), Failure);
}

TEST(Communicator, broadcast_and_agreement) {
  auto const world = Communicator::world();
  std::string text = world.is_root() ? "from the root" : "";
  world.broadcast(text);
  EXPECT_EQ(text, "from the root");
  EXPECT_TRUE(world.same_on_all_ranks(5));
  EXPECT_EQ(world.same_on_all_ranks(static_cast<std::uint64_t>(world.rank())), world.size() == 1);
  EXPECT_EQ(world.node().size(), world.size());
}

}  // namespace
}  // namespace retort
