// The bytes of a file at an offset: pread and pwrite that do all or throw, safe from several threads.
#pragma once

#include <cstdint>
#include <filesystem>

namespace retort {

class ByteFile {
 public:
  // Throw Failure(missing_input) or Failure(cannot_write). `create` empties what is there.
  static ByteFile open_for_reading(std::filesystem::path const& file);
  static ByteFile open_for_writing(std::filesystem::path const& file);
  static ByteFile create(std::filesystem::path const& file);
  ByteFile(ByteFile&& other) noexcept;
  ByteFile& operator=(ByteFile&& other) noexcept;
  ~ByteFile();

  // Throws Failure(bad_input) where the file ends before.
  void read(std::int64_t offset, void* into, std::int64_t bytes) const;
  // Throws Failure(cannot_write).
  void write(std::int64_t offset, void const* from, std::int64_t bytes) const;
  // Asks the system to begin writing a range to the disk, so that flush() has less to wait for. Never fails.
  void begin_flush(std::int64_t offset, std::int64_t bytes) const;
  // Waits until what this process wrote lies on the disk. Throws Failure(cannot_write).
  void flush() const;
  std::int64_t size() const;

 private:
  ByteFile(std::filesystem::path file, int flags);
  std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace retort
