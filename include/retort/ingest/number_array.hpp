// A stranger's data set of numbers, read by ranges of its first axis as fast as its layout allows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "retort/files/hdf5.hpp"
#include "retort/files/numbers.hpp"

namespace retort {

// A file descriptor for reading beside HDF5.
class FileDescriptor {
 public:
  explicit FileDescriptor(std::filesystem::path const& file);  // throws Failure(missing_input)
  ~FileDescriptor();
  FileDescriptor(FileDescriptor const&) = delete;
  FileDescriptor& operator=(FileDescriptor const&) = delete;
  int number() const { return number_; }
  std::int64_t size() const { return size_; }

 private:
  int number_ = -1;
  std::int64_t size_ = 0;
};

// One or two axes of plain numbers. Contiguous ones are read with pread, without HDF5; others by H5Dread of whole
// ranges.
class NumberArray {
 public:
  // Throws Failure(bad_input) where it does not hold numbers or ends after the file does. `file` must outlive it.
  NumberArray(FileDescriptor const& file, Hdf5Dataset dataset);
  NumberType type() const { return type_; }
  bool is_integer() const { return type_ != NumberType::f32 && type_ != NumberType::f64; }
  std::vector<std::int64_t> const& shape() const { return dataset_.shape(); }
  std::int64_t rows() const { return dataset_.rows(); }
  std::string place() const { return dataset_.place(); }
  void read(std::int64_t begin, std::int64_t rows, Numbers& out) const;
  // The same as 64-bit integers; throws Failure(bad_input) where it holds others.
  std::vector<std::int64_t> integers(std::int64_t begin, std::int64_t rows) const;

 private:
  FileDescriptor const& file_;
  Hdf5Dataset dataset_;
  NumberType type_ = NumberType::f32;
  std::int64_t row_ = 1;      // numbers along the second axis
  std::int64_t offset_ = -1;  // in the file, where it can be read directly
};

}  // namespace retort
