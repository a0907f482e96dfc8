// The folder of a run: who ran, with which settings, what came out, and whether it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "retort/run/run_lock.hpp"

namespace retort {

// RUN/<verb>/ holds options.ini, build.txt, steps.tsv, log.jsonl, checkpoints and DONE; products lie in RUN itself.
// Only rank 0 writes, and holds the run's lock; the functions that write do nothing on the others.
class RunFolder {
 public:
  // Throws Failure(cannot_write), also when another process holds the lock.
  RunFolder(std::filesystem::path run, std::string const& verb, bool writes);

  std::filesystem::path const& path() const { return run_; }
  std::filesystem::path own() const { return own_; }

  // Writes options.ini and build.txt and takes away an earlier DONE.
  void start(std::string const& ini, std::string const& build) const;
  // One line of steps.tsv; the first call of a run writes the header made of `columns`.
  void step(std::vector<std::string> const& columns, std::vector<double> const& values);
  // Bytes of steps.tsv now, for a checkpoint; and back to what it was then (0: no file), so that no step is told twice.
  std::uint64_t steps_bytes() const;
  void rewind_steps(std::uint64_t bytes);
  // One line of log.jsonl.
  void note(std::string const& event, nlohmann::json const& fields) const;

  // A stage is done when DONE holds the same key (see stage_key) and its products are as they were then: size and time
  // of change. A deleted or replaced product runs the stage again.
  bool is_done(std::string const& key) const;
  void set_done(std::string const& key, std::vector<std::filesystem::path> const& products) const;

  // Throws Failure(stopped) when another job has taken the folder. Not collective.
  void require_lock() const;
  bool has_lost_lock() const { return lock_ && lock_->is_lost(); }

 private:
  std::filesystem::path run_, own_;
  bool writes_;
  std::unique_ptr<RunLock> lock_;
  bool steps_begun_ = false;
};

// JSON as text in one line, or indented; bytes that are not UTF-8 (names from strangers' files) are replaced, never
// thrown at.
std::string json_text(nlohmann::json const& value, int indent = -1);

// Hash of the settings that decide results and of the inputs' names, sizes and times of change: a stage whose key
// differs from the one in DONE is run again, and so are the stages that read its products.
std::string stage_key(std::string const& fingerprint, std::vector<std::filesystem::path> const& inputs);

// Throws Failure(missing_input) if the path is not there or cannot be read.
void require_input(std::filesystem::path const& path, std::string const& what);
// Flushes a file's bytes, or a folder's entries, to disk. Throws cannot_write.
void flush_file(std::filesystem::path const& file);
void flush_folder(std::filesystem::path const& folder);
// Flushes `pending` to disk and renames it to `final`, so that a reader sees the whole file or none. Throws
// cannot_write.
void publish(std::filesystem::path const& pending, std::filesystem::path const& final);
// Writes a small text file through publish().
void write_text(std::filesystem::path const& path, std::string const& text);

}  // namespace retort
