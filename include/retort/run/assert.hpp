// Checks of our own mistakes: on in the preset `debug` (RETORT_ASSERTIONS), nothing elsewhere. What users and machines
// do wrong is a Failure instead (error.hpp), always on.
#pragma once

#ifdef RETORT_ASSERTIONS
#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace retort {

// Says which condition does not hold and where, and aborts.
[[noreturn]] inline void assertion_failed(char const* condition,
                                          std::source_location const& at = std::source_location::current()) {
  std::fprintf(stderr, "retort: assertion failed: %s (%s:%u, %s). Please report it\n", condition, at.file_name(),
               static_cast<unsigned>(at.line()), at.function_name());
  std::abort();
}

}  // namespace retort

// `condition` has no side effects: elsewhere it is not evaluated.
#define RETORT_ASSERT(condition) ((condition) ? static_cast<void>(0) : ::retort::assertion_failed(#condition))
#else
#define RETORT_ASSERT(condition) static_cast<void>(sizeof((condition) ? 1 : 0))
#endif
