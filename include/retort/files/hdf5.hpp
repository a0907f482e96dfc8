// HDF5 behind handles that close themselves: every call is checked, and every failure names the file and the data set.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "retort/files/numbers.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

// Owns an identifier of HDF5.
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Close how) : id_(id), close_(how) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(other.id_), close_(other.close_) { other.id_ = -1; }
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept;
  ~Hdf5Handle() { close(); }
  void close() noexcept;
  // Gives the identifier up without closing it.
  hid_t release() noexcept;
  hid_t id() const { return id_; }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

template <class Value>
constexpr NumberType number_type_of();

// The caps on what a stranger's file may make us allocate for text.
struct StringLimits {
  std::int64_t longest = 1 << 16;              // bytes of one string
  std::int64_t total = std::int64_t{1} << 32;  // bytes of all strings of one data set
};

// What a group, a data set and a file share: where they are, and their attributes. Failures while reading have the code
// bad_input, while writing cannot_write.
class Hdf5Object {
 public:
  hid_t id() const { return handle_.id(); }
  // "'cells.h5ad' obs/cell_type", for messages.
  std::string place() const;
  std::string const& path() const { return path_; }

  bool has_attribute(std::string const& name) const;
  std::vector<std::string> attribute_names() const;
  // Nothing where it is not there or is not one string.
  std::optional<std::string> string_attribute(std::string const& name) const;
  // One or many; empty where it is not there. Throws Failure(bad_input) where it is of another type.
  std::vector<std::string> strings_attribute(std::string const& name) const;
  std::vector<std::int64_t> integers_attribute(std::string const& name) const;
  void set_attribute(std::string const& name, std::string const& text);
  void set_attribute(std::string const& name, bool value);
  void set_attribute(std::string const& name, std::vector<std::string> const& texts);
  void set_attribute(std::string const& name, std::vector<std::int64_t> const& numbers);

 protected:
  struct Origin {
    std::string file;
    bool writing = false;
  };
  Hdf5Object(Hdf5Handle handle, std::shared_ptr<Origin const> origin, std::string path)
      : handle_(std::move(handle)), origin_(std::move(origin)), path_(std::move(path)) {}
  // Throws the Failure of `operation` on this object, or on `child` of it.
  [[noreturn]] void failed(char const* operation, std::string const& child = "") const;
  hid_t check(hid_t id, char const* operation, std::string const& child = "") const;
  void require(bool ok, char const* operation, std::string const& child = "") const;

  Hdf5Handle handle_;
  std::shared_ptr<Origin const> origin_;
  std::string path_;
};

// How a new data set lies in the file. Neither stores times, so that equal contents are equal bytes.
struct Hdf5Layout {
  std::int64_t chunk = 0;  // elements (rows) a chunk; 0: contiguous, allocated at once and not filled
  int gzip = 0;            // level, where there are chunks
};

class Hdf5Dataset : public Hdf5Object {
 public:
  std::vector<std::int64_t> const& shape() const { return shape_; }  // empty: a scalar
  std::int64_t size() const;                                         // elements
  std::int64_t rows() const { return shape_.empty() ? 1 : shape_[0]; }
  // The narrowest type that holds its numbers; nothing where it holds none. Booleans are i8, half floats f32.
  std::optional<NumberType> number_type() const;
  bool is_bool() const;
  bool is_string() const;
  // Names of the fields, where it is a table of records (AnnData before 0.7); else empty.
  std::vector<std::string> fields() const;
  // Elements a chunk in the first dimension; nothing where it is contiguous.
  std::optional<std::int64_t> chunk_rows() const;
  // The byte of the file at which its elements begin, where they are contiguous, uncompressed and of this machine's
  // order.
  std::optional<std::int64_t> offset() const;
  // The same of a data set just made, to write there without HDF5; 0 where it is empty. Throws Failure(cannot_write).
  std::int64_t require_offset() const;
  // Throws Failure(bad_input) where its bytes lie in other files, need a filter that is not here, or are more than the
  // file can hold. Hdf5Group::dataset calls it in files that are only read.
  void require_plain() const;

  // Rows [begin, begin + rows) of the first dimension with all that belongs to them, converted to `as`.
  void read(NumberType as, std::int64_t begin, std::int64_t rows, void* into) const;
  // The same into `into`, in the type that they have in the file.
  void read(Numbers& into, std::int64_t begin, std::int64_t rows) const;
  // All elements, row-major. Throws Failure(bad_input) where Value is whole and the data set is not.
  template <class Value>
  std::vector<Value> read() const;
  template <class Value>
  std::vector<Value> read(std::int64_t begin, std::int64_t rows) const;
  std::vector<std::string> read_strings(StringLimits const& limits = {}) const;
  // A field of a table of records.
  std::optional<NumberType> field_number_type(std::string const& field) const;
  bool field_is_string(std::string const& field) const;
  template <class Value>
  std::vector<Value> read_field(std::string const& field) const;
  std::vector<std::string> read_field_strings(std::string const& field, StringLimits const& limits = {}) const;

  // Rows [begin, begin + rows). `together`: collective, every rank of a parallel file calls it (with no rows if it has
  // none).
  void write(NumberType from_type, std::int64_t begin, std::int64_t rows, void const* from, bool together = false);
  template <class Value>
  void write(std::int64_t begin, std::span<Value const> values, bool together = false);
  // The bytes of the chunk that begins at row `begin`, as the filters left them.
  std::vector<char> read_chunk(std::int64_t begin) const;
  void write_chunk(std::int64_t begin, std::span<char const> filtered);

 private:
  friend class Hdf5Group;
  Hdf5Dataset(Hdf5Handle handle, std::shared_ptr<Origin const> origin, std::string path);
  std::optional<NumberType> numbers_of(hid_t type) const;
  std::vector<std::string> strings_of(hid_t type, hid_t record, StringLimits const& limits) const;
  Hdf5Handle member(std::string const& field) const;
  std::pair<Hdf5Handle, Hdf5Handle> selection(std::int64_t begin, std::int64_t rows) const;
  void require_whole(std::optional<NumberType> type, bool wanted, std::string const& field) const;

  std::vector<std::int64_t> shape_;
};

enum class Hdf5Kind { absent, group, dataset, other };

class Hdf5Group : public Hdf5Object {
 public:
  // Members in the order of their names.
  std::vector<std::string> names() const;
  // `path` may have several parts. Links that leave the file, and soft links, are refused with Failure(bad_input).
  Hdf5Kind kind(std::string const& path) const;
  bool has(std::string const& path) const { return kind(path) != Hdf5Kind::absent; }
  // Throw Failure(bad_input) where it is not there or is of the other kind.
  Hdf5Group group(std::string const& path) const;
  Hdf5Dataset dataset(std::string const& path) const;

  Hdf5Group create_group(std::string const& name);
  // Everything of `source`, of another file, becomes the group `name`. Not for parallel files.
  Hdf5Group copy_group(Hdf5Group const& source, std::string const& name);
  // Collective where the file is parallel. An empty shape makes a scalar.
  Hdf5Dataset create_dataset(std::string const& name, NumberType type, std::vector<std::int64_t> const& shape,
                             Hdf5Layout const& layout = {});
  // An enumeration FALSE, TRUE as h5py writes NumPy booleans; its numbers are i8.
  Hdf5Dataset create_bools(std::string const& name, std::vector<std::int64_t> const& shape);
  // Creates and writes; not for parallel files, whose HDF5 cannot write text.
  Hdf5Dataset write_strings(std::string const& name, std::vector<std::string> const& texts);
  Hdf5Dataset write_string(std::string const& name, std::string const& text);
  template <class Value>
  Hdf5Dataset write_numbers(std::string const& name, std::vector<Value> const& values);
  template <class Value>
  Hdf5Dataset write_number(std::string const& name, Value value);

 protected:
  Hdf5Group(Hdf5Handle handle, std::shared_ptr<Origin const> origin, std::string path)
      : Hdf5Object(std::move(handle), std::move(origin), std::move(path)) {}
};

// An open file; itself the root group. Closes when it dies, after its groups and data sets.
class Hdf5File : public Hdf5Group {
 public:
  // Throws Failure(missing_input) where there is no such file, Failure(bad_input) where it is not HDF5.
  static Hdf5File open(std::filesystem::path const& file);
  // Replaces what is there. Throw Failure(cannot_write).
  static Hdf5File create(std::filesystem::path const& file);
  // Opens for adding to it.
  static Hdf5File extend(std::filesystem::path const& file);
  // Collective: all ranks hold one file together; creating groups, data sets and closing are collective.
  static Hdf5File create(Communicator const& ranks, std::filesystem::path const& file);
  static Hdf5File extend(Communicator const& ranks, std::filesystem::path const& file);
  // A file in memory that is never written: to compress chunks with HDF5's own filters.
  static Hdf5File in_memory();
  // Flushes and closes, and throws where the disk is full. Groups and data sets of it must be gone. Collective where
  // the file is parallel: call it inside Communicator::together, which then tells all ranks of one's failure.
  void close();

 private:
  Hdf5File(Hdf5Handle handle, std::shared_ptr<Origin const> origin)
      : Hdf5Group(std::move(handle), std::move(origin), "") {}
};

template <>
constexpr NumberType number_type_of<std::int8_t>() {
  return NumberType::i8;
}
template <>
constexpr NumberType number_type_of<std::int16_t>() {
  return NumberType::i16;
}
template <>
constexpr NumberType number_type_of<std::int32_t>() {
  return NumberType::i32;
}
template <>
constexpr NumberType number_type_of<std::int64_t>() {
  return NumberType::i64;
}
template <>
constexpr NumberType number_type_of<std::uint8_t>() {
  return NumberType::u8;
}
template <>
constexpr NumberType number_type_of<std::uint16_t>() {
  return NumberType::u16;
}
template <>
constexpr NumberType number_type_of<std::uint32_t>() {
  return NumberType::u32;
}
template <>
constexpr NumberType number_type_of<std::uint64_t>() {
  return NumberType::u64;
}
template <>
constexpr NumberType number_type_of<float>() {
  return NumberType::f32;
}
template <>
constexpr NumberType number_type_of<double>() {
  return NumberType::f64;
}

// The name that messages give a type: "uint8", "float32".
char const* name_of(NumberType type);

}  // namespace retort
