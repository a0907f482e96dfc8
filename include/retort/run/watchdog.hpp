// A thread that turns a silent hang into a line and an exit.
#pragma once

#include <cstdint>
#include <string>

namespace retort {

// Started once a process. When one Operation lasts longer than the deadline, prints
// `PROGRAM: error: OPERATION has lasted N s (...) [rank r of n, host h, step s]` and leaves with 124.
// MPI_Abort is not called: it is not safe from a second thread.
class Watchdog {
 public:
  static void start(std::string program, int rank, int ranks, double deadline_seconds);
  static void stop();
  // The step that error lines name; -1 before the first.
  static void set_step(long step);
  static long step();
};

// Names what the process waits for, for as long as it lives: Operation waiting("sum of gradients"). Of several the
// innermost is watched; an outer one's time goes on when it ends. One thread of a process makes them.
class Operation {
 public:
  explicit Operation(char const* name);
  ~Operation();
  Operation(Operation const&) = delete;
  Operation& operator=(Operation const&) = delete;

 private:
  char const* outer_;
  std::int64_t outer_began_ms_;
};

}  // namespace retort
