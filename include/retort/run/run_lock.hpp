// One writer a run folder: a file LOCK with who holds it and a heartbeat.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace retort {

// Held from construction to destruction by one process (rank 0). RUN/LOCK names program, host, process, Slurm job and
// its restart count; a thread renews its time of change every few seconds. A lock is taken over at once when its
// process is gone from this host or when it belongs to an earlier start of the same Slurm job, and after half a minute
// without a heartbeat otherwise; whoever lost it finds another's token in the file.
class RunLock {
 public:
  // Waits up to half a minute for the heartbeat of a holder that may be dead.
  // Throws Failure(cannot_write) when the folder is in use, or the file cannot be written.
  RunLock(std::filesystem::path const& run, std::string const& program);
  ~RunLock();  // removes the file if it still is this one's
  RunLock(RunLock const&) = delete;
  RunLock& operator=(RunLock const&) = delete;

  // True once the file no longer holds this lock's token. Looks at the heartbeat's finding, or at the file itself.
  bool is_lost() const { return lost_; }
  // Throws Failure(stopped) when the file holds another's token: called before something is published.
  void require_held() const;

 private:
  bool file_is_mine() const;
  void beat();

  std::filesystem::path file_;
  std::string token_;
  std::atomic<bool> lost_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread heart_;
};

}  // namespace retort
