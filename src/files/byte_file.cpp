#include "retort/files/byte_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t largest_call = std::int64_t{1} << 30;  // Linux moves at most 2 GiB a call

}  // namespace

ByteFile::ByteFile(std::filesystem::path file, int flags)
    : file_(std::move(file)), descriptor_(::open(file_.c_str(), flags | O_CLOEXEC, 0644)) {
  if (descriptor_ >= 0) return;
  std::string const reason = std::strerror(errno);
  if (flags == O_RDONLY) fail(ExitCode::missing_input, "cannot open '{}' ({}). Check the path", file_.string(), reason);
  fail(ExitCode::cannot_write, "cannot write '{}' ({}). Check the folder and its free space", file_.string(), reason);
}

ByteFile ByteFile::open_for_reading(std::filesystem::path const& file) { return {file, O_RDONLY}; }
ByteFile ByteFile::open_for_writing(std::filesystem::path const& file) { return {file, O_RDWR}; }
ByteFile ByteFile::create(std::filesystem::path const& file) { return {file, O_RDWR | O_CREAT | O_TRUNC}; }

ByteFile::ByteFile(ByteFile&& other) noexcept
    : file_(std::move(other.file_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
ByteFile& ByteFile::operator=(ByteFile&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}
ByteFile::~ByteFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ByteFile::read(std::int64_t offset, void* into, std::int64_t bytes) const {
  auto* at = static_cast<char*>(into);
  while (bytes > 0) {
    auto const got = ::pread(descriptor_, at, index(std::min(bytes, largest_call)), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      fail(ExitCode::bad_input, "cannot read '{}' at byte {} ({})", file_.string(), offset, std::strerror(errno));
    if (got == 0)
      fail(ExitCode::bad_input, "'{}' ends at byte {} (its data sets say that {} more follow). It was cut short",
           file_.string(), offset, bytes);
    at += got;
    offset += got;
    bytes -= got;
  }
}

void ByteFile::write(std::int64_t offset, void const* from, std::int64_t bytes) const {
  auto const* at = static_cast<char const*>(from);
  while (bytes > 0) {
    auto const put = ::pwrite(descriptor_, at, index(std::min(bytes, largest_call)), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0)
      fail(ExitCode::cannot_write, "cannot write '{}' at byte {} ({}). Free space or choose another run.folder",
           file_.string(), offset, std::strerror(errno));
    at += put;
    offset += put;
    bytes -= put;
  }
}

void ByteFile::begin_flush(std::int64_t offset, std::int64_t bytes) const {
  static_cast<void>(::sync_file_range(descriptor_, offset, bytes,
                                      SYNC_FILE_RANGE_WRITE));  // a hint: file systems without it flush later
}

void ByteFile::flush() const {
  if (::fdatasync(descriptor_) != 0)
    fail(ExitCode::cannot_write, "cannot flush '{}' to disk ({}). Free space or choose another run.folder",
         file_.string(), std::strerror(errno));
}

std::int64_t ByteFile::size() const {
  struct stat about {};
  return ::fstat(descriptor_, &about) == 0 ? static_cast<std::int64_t>(about.st_size) : 0;
}

}  // namespace retort
