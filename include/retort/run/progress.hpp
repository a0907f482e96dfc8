// What a person sees while it works: a bar on a terminal, one line every few seconds elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace retort {

// Speaks on stderr, and only where `speaks` is true (rank 0). `unit` is what is counted: "cells", "steps".
class Progress {
 public:
  Progress(bool speaks, std::string program, std::string what, std::int64_t total, std::string unit);
  ~Progress();
  // `remark` is appended to the line: "loss 0.123".
  void update(std::int64_t done, std::string const& remark = "");
  void finish();

 private:
  void print(std::int64_t done, std::string const& remark, bool last);

  bool speaks_, on_terminal_, finished_ = false, printed_ = false;
  std::string program_, what_, unit_;
  std::int64_t total_, done_ = 0;
  std::chrono::steady_clock::time_point begin_, last_;
};

// Thousands separated by commas, as people read them: 1,234,567.
std::string with_commas(std::int64_t count);

}  // namespace retort
