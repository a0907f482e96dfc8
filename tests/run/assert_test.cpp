// Assertions, as the preset `debug` turns them on: what is wrong aborts with the condition and its place.
#define RETORT_ASSERTIONS 1
#include "retort/run/assert.hpp"

#include <gtest/gtest.h>

#include "retort/run/index.hpp"

namespace retort {
namespace {

TEST(Assert, AbortsWhereAConditionDoesNotHold) {
  RETORT_ASSERT(1 + 1 == 2);
  EXPECT_DEATH(RETORT_ASSERT(1 + 1 == 3), "assertion failed: 1 \\+ 1 == 3 .*assert_test.cpp");
}

// Of short, which nothing else indexes by: the rest of the program may be built without assertions.
TEST(Index, RefusesWhatIsNegative) {
  EXPECT_EQ(index(short{7}), 7U);
  EXPECT_DEATH(index(short{-1}), "assertion failed");
}

}  // namespace
}  // namespace retort
