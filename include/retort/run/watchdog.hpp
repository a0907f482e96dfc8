// A thread that turns a silent hang into a line and an exit.
#pragma once

#include <string>

namespace retort {

// Started once a process. When one Operation lasts longer than the deadline, prints
// `PROGRAM: error: OPERATION has lasted N s (...) [rank r of n, host h, step s]` and leaves with 124.
// MPI_Abort is not called: it is not safe from a second thread.
class Watchdog {
 public:
  static void start(std::string program, int rank, int ranks, double deadline_seconds);
  static void stop();
  static void set_step(long step);
};

// Names what the process waits for, for as long as it lives: Operation waiting("sum of gradients").
class Operation {
 public:
  explicit Operation(char const* name);
  ~Operation();
  Operation(Operation const&) = delete;
  Operation& operator=(Operation const&) = delete;
};

}  // namespace retort
