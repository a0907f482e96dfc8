#include "retort/ingest/number_array.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

FileDescriptor::FileDescriptor(std::filesystem::path const& file)
    : number_(::open(file.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat status {};
  if (number_ < 0 || ::fstat(number_, &status) != 0)
    fail(ExitCode::missing_input, "cannot open '{}' ({}). Check its name and rights", file.string(),
         std::strerror(errno));
  size_ = status.st_size;
}

FileDescriptor::~FileDescriptor() {
  if (number_ >= 0) ::close(number_);
}

NumberArray::NumberArray(FileDescriptor const& file, Hdf5Dataset dataset) : file_(file), dataset_(std::move(dataset)) {
  auto const type = dataset_.number_type();
  if (!type || dataset_.is_bool())
    fail(ExitCode::bad_input, "{} does not hold numbers (integers and floats are read). Export the file again",
         place());
  if (shape().empty() || shape().size() > 2)
    fail(ExitCode::bad_input, "{} has {} axes (1 or 2 are read). Export the file again", place(), shape().size());
  type_ = *type;
  if (shape().size() == 2) row_ = shape()[1];
  constexpr std::int64_t most = std::int64_t{1} << 58;  // numbers whose bytes still fit in 64 bits
  if (row_ > 0 && rows() > most / row_)
    fail(ExitCode::bad_input, "{} claims {} x {} numbers (no file holds so many). Repair the file", place(), rows(),
         row_);
  auto const offset = dataset_.offset();
  if (!offset) return;
  if (*offset > file_.size() || rows() * row_ * bytes_of(type_) > file_.size() - *offset)
    fail(ExitCode::bad_input, "{} ends after the file's {} bytes (the file is truncated). Copy it again", place(),
         file_.size());
  offset_ = *offset;
}

void NumberArray::read(std::int64_t begin, std::int64_t count, Numbers& out) const {
  if (begin < 0 || count < 0 || begin + count > rows())
    fail(ExitCode::bad_input, "{} has {} rows ({} are needed). Export the file again", place(), rows(), begin + count);
  if (offset_ < 0) return dataset_.read(out, begin, count);
  out.resize(type_, count * row_);
  std::int64_t const bytes = out.size() * bytes_of(type_), from = offset_ + begin * row_ * bytes_of(type_);
  for (std::int64_t done = 0; done < bytes;) {
    auto const piece = ::pread(file_.number(), out.data() + done, index(bytes - done), from + done);
    if (piece < 0 && errno == EINTR) continue;
    if (piece <= 0)
      fail(ExitCode::bad_input, "{} cannot be read at byte {} ({}). Copy the file again", place(), from + done,
           piece == 0 ? "the file ends there" : std::strerror(errno));
    done += piece;
  }
}

std::vector<std::int64_t> NumberArray::integers(std::int64_t begin, std::int64_t count) const {
  if (!is_integer())
    fail(ExitCode::bad_input, "{} holds {} (integers are needed). Repair the file", place(), name_of(type_));
  Numbers numbers;
  read(begin, count, numbers);
  std::vector<std::int64_t> wide;
  wide.reserve(index(count));
  with_number_type(type_, [&]<class Value>() {
    for (auto const value : numbers.as<Value>()) wide.push_back(static_cast<std::int64_t>(value));
  });
  return wide;
}

}  // namespace retort
