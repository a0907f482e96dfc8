// Wall time of a part of a program, in seconds.
#pragma once

#include <chrono>
#include <utility>

namespace retort {

// Runs from its construction.
class Stopwatch {
 public:
  // Since construction, or since the last lap().
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }
  // The same, and begins again.
  double lap() {
    auto const now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(begin_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace retort
