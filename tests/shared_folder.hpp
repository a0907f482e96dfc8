// A folder that the ranks of a test share, and Python's verdict on what lies in it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "retort/ranks/communicator.hpp"
#include "retort/run/error.hpp"

namespace retort {

// Collective. Empty at first, gone afterwards.
struct SharedFolder {
  SharedFolder(Communicator const& all, std::string const& name)
      : ranks(all),
        path(std::filesystem::temp_directory_path() /
             fmt::format("retort_{}_{}_{}", name, Communicator::world().size(),
                         ranks.size() == 1 ? Communicator::world().rank() : 0)) {
    if (ranks.is_root()) {
      std::filesystem::remove_all(path);
      std::filesystem::create_directories(path);
    }
    ranks.barrier();
  }
  ~SharedFolder() {
    ranks.barrier();
    if (ranks.is_root()) std::filesystem::remove_all(path);
  }
  std::filesystem::path operator/(std::string const& name) const { return path / name; }

  Communicator const& ranks;
  std::filesystem::path path;
};

inline std::string bytes_of_file(std::filesystem::path const& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// The text of the Failure that `work` throws, which must have this code.
inline std::string failure_of(ExitCode expected, std::function<void()> const& work) {
  try {
    work();
  } catch (Failure const& failure) {
    EXPECT_EQ(static_cast<int>(failure.code), static_cast<int>(expected)) << failure.what();
    return failure.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

inline bool has_python() {
  char const* python = std::getenv("RETORT_PYTHON");
  return python && std::filesystem::exists(python);
}

// Whether `script`, run in the folder `at`, ends well; its assertions speak on stderr.
inline bool python_agrees(std::filesystem::path const& at, std::string const& script) {
  std::ofstream(at / "check.py") << script;
  std::string const command =
      fmt::format("cd '{}' && '{}' -W ignore check.py", at.string(), std::getenv("RETORT_PYTHON"));
  return std::system(command.c_str()) == 0;
}

}  // namespace retort
