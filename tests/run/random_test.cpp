#include "retort/run/random.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace retort {
namespace {

TEST(Random, a_key_names_its_numbers) {
  Random first(7, purpose::shuffle, 3), again(7, purpose::shuffle, 3), other_step(7, purpose::shuffle, 4),
      other_purpose(7, purpose::split, 3), other_seed(8, purpose::shuffle, 3);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 100; ++i) {
    auto const bits = first.bits64();
    EXPECT_EQ(bits, again.bits64());
    for (auto* stream : {&other_step, &other_purpose, &other_seed}) seen.insert(stream->bits64());
    seen.insert(bits);
  }
  EXPECT_EQ(seen.size(), 400u);
}

// The known answer of Philox 4x32-10 for a zero counter and key (Random123's own test vectors).
TEST(Random, philox_gives_its_known_answer) {
  auto const block = r123::Philox4x32()({{0, 0, 0, 0}}, {{0, 0}});
  EXPECT_EQ(block[0], 0x6627e8d5u);
  EXPECT_EQ(block[3], 0x9b00dbd8u);
}

TEST(Random, moments) {
  Random random(1, purpose::dropout);
  double uniform = 0, normal = 0, square = 0;
  constexpr int draws = 200000;
  for (int i = 0; i < draws; ++i) {
    uniform += random.uniform();
    double const z = random.normal();
    normal += z;
    square += z * z;
  }
  EXPECT_NEAR(uniform / draws, 0.5, 0.003);
  EXPECT_NEAR(normal / draws, 0, 0.01);
  EXPECT_NEAR(square / draws, 1, 0.015);
}

TEST(Random, a_shuffle_is_a_permutation_and_uniform_below_a_bound) {
  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), 0);
  auto shuffled = values;
  Random(3, purpose::epoch).shuffle(shuffled);
  EXPECT_NE(shuffled, values);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, values);
  Random random(5, purpose::head);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts[random.below(7)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 500);
}

}  // namespace
}  // namespace retort
