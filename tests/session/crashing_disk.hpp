// A disk that crashes at a chosen operation and forgets what was not flushed. Linked into a test, it takes the place of
// libc's mkdir, fopen, write, fsync, rename and unlink for paths below one folder.
#pragma once

#include <string>

namespace retort {

struct CrashingDisk {
  // Counts operations below `folder` from here. Before operation `at` (from 1; 0: never) everything that a power cut
  // may lose is lost (bytes of files that were not fsynced, entries and renames in folders that were not fsynced) and
  // the process leaves with 9.
  static void watch(std::string const& folder, int at);
  static int operations();
};

}  // namespace retort
