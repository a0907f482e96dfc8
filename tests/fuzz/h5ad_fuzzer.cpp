// libFuzzer's entry: bytes are a file. Built by hand with clang: see CMakeLists.txt beside it.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>

#include "read_stranger.hpp"
#include "retort/run/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* bytes, std::size_t size) {
  static auto const file =
      std::filesystem::temp_directory_path() / ("retort_fuzzer_" + std::to_string(getpid()) + ".h5ad");
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<char const*>(bytes), static_cast<std::streamsize>(size));
  try {
    retort::read_stranger(file);
  } catch (retort::Failure const&) {
  }
  return 0;
}
