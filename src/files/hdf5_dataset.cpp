#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <optional>

#include "hdf5_types.hpp"
#include "retort/files/hdf5.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/watchdog.hpp"

namespace retort {
namespace {

// What gzip can make of a byte, at most, rounded up; more means that sizes in the file were invented.
constexpr std::int64_t most_inflation = 1100, always_allowed = 1 << 20;

hid_t native(NumberType type) {
  std::array<hid_t, 10> const types{H5T_NATIVE_INT8,  H5T_NATIVE_INT16,  H5T_NATIVE_INT32,  H5T_NATIVE_INT64,
                                    H5T_NATIVE_UINT8, H5T_NATIVE_UINT16, H5T_NATIVE_UINT32, H5T_NATIVE_UINT64,
                                    H5T_NATIVE_FLOAT, H5T_NATIVE_DOUBLE};
  return types[index(type)];
}

std::string name_of_filter(H5Z_filter_t filter) {
  switch (filter) {
    case 32000:
      return "lzf";
    case 32001:
      return "blosc";
    case 32004:
      return "lz4";
    case 32008:
      return "bitshuffle";
    case 32015:
      return "zstd";
    default:
      return fmt::format("number {}", filter);
  }
}

bool whole(NumberType type) { return type != NumberType::f32 && type != NumberType::f64; }

}  // namespace

Hdf5Dataset::Hdf5Dataset(Hdf5Handle handle, std::shared_ptr<Origin const> origin, std::string path)
    : Hdf5Object(std::move(handle), std::move(origin), std::move(path)) {
  Hdf5Handle const space(check(H5Dget_space(id()), "read the shape of"), H5Sclose);
  int const dimensions = H5Sget_simple_extent_ndims(space.id());
  require(dimensions >= 0, "read the shape of");
  std::vector<hsize_t> extent(index(dimensions));
  require(dimensions == 0 || H5Sget_simple_extent_dims(space.id(), extent.data(), nullptr) >= 0, "read the shape of");
  if (H5Sget_simple_extent_type(space.id()) == H5S_NULL) extent = {0};
  std::int64_t elements = 1;
  for (hsize_t const length : extent) {
    auto const signed_length = static_cast<std::int64_t>(length);
    if (signed_length < 0 || __builtin_mul_overflow(elements, std::max<std::int64_t>(1, signed_length), &elements) ||
        elements > std::int64_t{1} << 56)
      fail(ExitCode::bad_input, "{} claims a size that no file has ({} in one dimension). The file may be damaged",
           place(), length);
    shape_.push_back(signed_length);
  }
}

std::int64_t Hdf5Dataset::size() const {
  std::int64_t elements = 1;
  for (auto const length : shape_) elements *= length;
  return elements;
}

std::optional<NumberType> Hdf5Dataset::numbers_of(hid_t type) const {
  auto const kind = H5Tget_class(type);
  auto const bytes = H5Tget_size(type);
  if (kind == H5T_ENUM) {
    Hdf5Handle const base(check(H5Tget_super(type), "read the type of"), H5Tclose);
    return numbers_of(base.id());
  }
  if (kind == H5T_FLOAT) return bytes <= 4 ? NumberType::f32 : NumberType::f64;
  if (kind != H5T_INTEGER || bytes > 8) return std::nullopt;
  bool const has_sign = H5Tget_sign(type) == H5T_SGN_2;
  if (bytes == 1) return has_sign ? NumberType::i8 : NumberType::u8;
  if (bytes == 2) return has_sign ? NumberType::i16 : NumberType::u16;
  if (bytes <= 4) return has_sign ? NumberType::i32 : NumberType::u32;
  return has_sign ? NumberType::i64 : NumberType::u64;
}

std::optional<NumberType> Hdf5Dataset::number_type() const {
  Hdf5Handle const type(check(H5Dget_type(id()), "read the type of"), H5Tclose);
  return numbers_of(type.id());
}

bool Hdf5Dataset::is_bool() const {
  Hdf5Handle const type(check(H5Dget_type(id()), "read the type of"), H5Tclose);
  return H5Tget_class(type.id()) == H5T_ENUM && H5Tget_nmembers(type.id()) == 2 &&
         H5Tget_member_index(type.id(), "FALSE") >= 0 && H5Tget_member_index(type.id(), "TRUE") >= 0;
}

bool Hdf5Dataset::is_string() const {
  Hdf5Handle const type(check(H5Dget_type(id()), "read the type of"), H5Tclose);
  return H5Tget_class(type.id()) == H5T_STRING;
}

std::vector<std::string> Hdf5Dataset::fields() const {
  Hdf5Handle const type(check(H5Dget_type(id()), "read the type of"), H5Tclose);
  std::vector<std::string> names;
  if (H5Tget_class(type.id()) != H5T_COMPOUND) return names;
  for (int i = 0; i < H5Tget_nmembers(type.id()); ++i) {
    char* const name = H5Tget_member_name(type.id(), static_cast<unsigned>(i));
    names.emplace_back(name ? name : "");
    H5free_memory(name);
  }
  return names;
}

std::optional<std::int64_t> Hdf5Dataset::chunk_rows() const {
  Hdf5Handle const list(check(H5Dget_create_plist(id()), "read the layout of"), H5Pclose);
  if (H5Pget_layout(list.id()) != H5D_CHUNKED || shape_.empty()) return std::nullopt;
  std::vector<hsize_t> chunk(shape_.size());
  require(H5Pget_chunk(list.id(), static_cast<int>(chunk.size()), chunk.data()) >= 0, "read the layout of");
  return static_cast<std::int64_t>(chunk[0]);
}

std::optional<std::int64_t> Hdf5Dataset::offset() const {
  Hdf5Handle const list(check(H5Dget_create_plist(id()), "read the layout of"), H5Pclose);
  if (H5Pget_layout(list.id()) != H5D_CONTIGUOUS || H5Pget_external_count(list.id()) != 0) return std::nullopt;
  auto const numbers = number_type();
  Hdf5Handle const type(check(H5Dget_type(id()), "read the type of"), H5Tclose);
  bool const is_enumeration = H5Tget_class(type.id()) == H5T_ENUM;
  if (!numbers || is_enumeration || H5Tequal(type.id(), native(*numbers)) <= 0) return std::nullopt;
  haddr_t const at = H5Dget_offset(id());
  if (at == HADDR_UNDEF) return std::nullopt;
  return static_cast<std::int64_t>(at);
}

std::int64_t Hdf5Dataset::require_offset() const {
  auto const found = offset();
  require(found.has_value() || size() == 0, "find the bytes of");
  return found.value_or(0);
}

void Hdf5Dataset::require_plain() const {
  Hdf5Handle const list(check(H5Dget_create_plist(id()), "read the layout of"), H5Pclose);
  Hdf5Handle const type(check(H5Dget_type(id()), "read the type of"), H5Tclose);
  auto const layout = H5Pget_layout(list.id());
  if (layout == H5D_VIRTUAL || H5Pget_external_count(list.id()) > 0)
    fail(ExitCode::bad_input,
         "{} lies in other files (only what the file itself holds is read). Copy it into one file, e.g. by reading and "
         "writing it with anndata",
         place());
  for (int i = 0; i < H5Pget_nfilters(list.id()); ++i) {
    unsigned flags = 0, settings = 0;
    std::size_t values = 0;
    H5Z_filter_t const filter =
        H5Pget_filter2(list.id(), static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, &settings);
    require(filter >= 0, "read the filters of");
    if (filter > H5Z_FILTER_SCALEOFFSET || H5Zfilter_avail(filter) <= 0)
      fail(ExitCode::bad_input,
           "{} is compressed by {} (HDF5 itself cannot read it, and plugins are not loaded). Write it again with "
           "compression='gzip'",
           place(), name_of_filter(filter));
  }
  Hdf5Handle const file(check(H5Iget_file_id(id()), "read the file of"), H5Fclose);
  hsize_t file_bytes = 0;
  require(H5Fget_filesize(file.id(), &file_bytes) >= 0, "read the size of");
  auto const element = static_cast<double>(H5Tget_size(type.id()));
  double const bytes = static_cast<double>(size()) * element;
  double possible = static_cast<double>(file_bytes) + always_allowed;
  double chunk_bytes = 0;
  if (layout == H5D_CHUNKED) {
    possible *= most_inflation;
    std::vector<hsize_t> chunk(shape_.size());
    require(H5Pget_chunk(list.id(), static_cast<int>(chunk.size()), chunk.data()) >= 0, "read the layout of");
    chunk_bytes = element;
    for (hsize_t const length : chunk) chunk_bytes *= static_cast<double>(length);
  }
  if (bytes > possible || chunk_bytes > possible)
    fail(ExitCode::bad_input, "{} claims {:.0f} bytes (the file has {}). The file is damaged or was cut short", place(),
         std::max(bytes, chunk_bytes), file_bytes);
}

// --- reading
// ------------------------------------------------------------------------------------------------------------

std::pair<Hdf5Handle, Hdf5Handle> Hdf5Dataset::selection(std::int64_t begin, std::int64_t rows_wanted) const {
  Hdf5Handle space(check(H5Dget_space(id()), "read the shape of"), H5Sclose);
  if (shape_.empty()) return {std::move(space), Hdf5Handle(H5Screate(H5S_SCALAR), H5Sclose)};
  if (begin < 0 || rows_wanted < 0 || begin > shape_[0] - rows_wanted)
    fail(ExitCode::bad_input, "{} has {} rows, and rows {} to {} were asked for", place(), shape_[0], begin,
         begin + rows_wanted);
  std::vector<hsize_t> start(shape_.size(), 0), count(shape_.begin(), shape_.end());
  start[0] = static_cast<hsize_t>(begin);
  count[0] = static_cast<hsize_t>(rows_wanted);
  Hdf5Handle memory(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), H5Sclose);
  bool const nothing = std::ranges::find(count, hsize_t{0}) != count.end();
  bool const selected =
      nothing ? H5Sselect_none(space.id()) >= 0 && H5Sselect_none(memory.id()) >= 0
              : H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr) >= 0;
  require(selected && memory.id() >= 0, "select rows of");
  return {std::move(space), std::move(memory)};
}

void Hdf5Dataset::read(NumberType as, std::int64_t begin, std::int64_t rows_wanted, void* into) const {
  if (!number_type()) fail(ExitCode::bad_input, "{} holds no numbers", place());
  auto const [space, memory] = selection(begin, rows_wanted);
  if (H5Sget_select_npoints(space.id()) == 0) return;
  require(H5Dread(id(), native(as), memory.id(), space.id(), H5P_DEFAULT, into) >= 0, "read");
}

void Hdf5Dataset::read(Numbers& into, std::int64_t begin, std::int64_t rows_wanted) const {
  auto const type = number_type();
  if (!type) fail(ExitCode::bad_input, "{} holds no numbers", place());
  std::int64_t const row = shape_.empty() || shape_[0] == 0 ? 1 : size() / shape_[0];
  into.resize(*type, rows_wanted * row);
  read(*type, begin, rows_wanted, into.data());
}

void Hdf5Dataset::require_whole(std::optional<NumberType> type, bool wanted, std::string const& field) const {
  std::string const what = field.empty() ? place() : fmt::format("field '{}' of {}", field, place());
  if (!type) fail(ExitCode::bad_input, "{} holds no numbers", what);
  if (wanted && !whole(*type)) fail(ExitCode::bad_input, "{} is {} (whole numbers are expected)", what, name_of(*type));
}

template <class Value>
std::vector<Value> Hdf5Dataset::read(std::int64_t begin, std::int64_t rows_wanted) const {
  require_whole(number_type(), std::is_integral_v<Value>, "");
  std::int64_t const row = shape_.empty() || shape_[0] == 0 ? 1 : size() / shape_[0];
  std::vector<Value> values(index(rows_wanted * row));
  read(number_type_of<Value>(), begin, rows_wanted, values.data());
  return values;
}

template <class Value>
std::vector<Value> Hdf5Dataset::read() const {
  return read<Value>(0, rows());
}

std::vector<std::string> Hdf5Dataset::strings_of(hid_t type, hid_t record, StringLimits const& limits) const {
  if (shape_.size() > 1)
    fail(ExitCode::bad_input, "{} has {} dimensions (a list of texts has one)", place(), shape_.size());
  std::vector<std::string> texts;
  std::int64_t total = limits.total;
  constexpr std::int64_t piece = 8192;
  // Texts of a piece may all point at one large one, so HDF5 asks a budget before it allocates what a file says.
  std::int64_t budget = 0;
  Hdf5Handle const transfer(H5Pcreate(H5P_DATASET_XFER), H5Pclose);
  auto const allocate = [](size_t bytes, void* left) -> void* {
    return (*static_cast<std::int64_t*>(left) -= static_cast<std::int64_t>(bytes)) < 0 ? nullptr : std::malloc(bytes);
  };
  auto const give_back = [](void* memory, void*) { std::free(memory); };
  H5Pset_vlen_mem_manager(transfer.id(), allocate, &budget, give_back, nullptr);
  for (std::int64_t begin = 0; begin < rows(); begin += piece) {
    std::int64_t const count = std::min(piece, rows() - begin);
    constexpr std::int64_t unasked = 1 << 26;  // below it a text that is too long is refused by its number
    budget = std::max(unasked, std::min(total, count * limits.longest) + count);
    auto const [space, memory] = selection(begin, count);
    hid_t const memory_space = memory.id(), file_space = space.id();
    hdf5_types::append_texts(
        type, record, memory_space, transfer.id(), count,
        [&](void* into) {
          bool const is_read = H5Dread(id(), record, memory_space, file_space, transfer.id(), into) >= 0;
          if (!is_read && budget < 0)
            fail(ExitCode::bad_input, "{} has more text in rows {} to {} than is read", place(), begin, begin + count);
          require(is_read, "read");
        },
        [&](std::string const& problem) { fail(ExitCode::bad_input, "{} {}", place(), problem); }, limits, total,
        texts);
  }
  return texts;
}

std::vector<std::string> Hdf5Dataset::read_strings(StringLimits const& limits) const {
  Hdf5Handle const type(check(H5Dget_type(id()), "read the type of"), H5Tclose);
  if (H5Tget_class(type.id()) != H5T_STRING) fail(ExitCode::bad_input, "{} holds no text", place());
  return strings_of(type.id(), type.id(), limits);
}

Hdf5Handle Hdf5Dataset::member(std::string const& field) const {
  Hdf5Handle const type(check(H5Dget_type(id()), "read the type of"), H5Tclose);
  int const index = H5Tget_class(type.id()) == H5T_COMPOUND ? H5Tget_member_index(type.id(), field.c_str()) : -1;
  if (index < 0) fail(ExitCode::bad_input, "{} has no field '{}'", place(), field);
  return {check(H5Tget_member_type(type.id(), static_cast<unsigned>(index)), "read the type of"), H5Tclose};
}

std::optional<NumberType> Hdf5Dataset::field_number_type(std::string const& field) const {
  return numbers_of(member(field).id());
}
bool Hdf5Dataset::field_is_string(std::string const& field) const {
  return H5Tget_class(member(field).id()) == H5T_STRING;
}

namespace {

// A record of one field, in place of the whole record.
Hdf5Handle only(std::string const& field, hid_t type) {
  Hdf5Handle record(H5Tcreate(H5T_COMPOUND, H5Tget_size(type)), H5Tclose);
  H5Tinsert(record.id(), field.c_str(), 0, type);
  return record;
}

}  // namespace

template <class Value>
std::vector<Value> Hdf5Dataset::read_field(std::string const& field) const {
  require_whole(field_number_type(field), std::is_integral_v<Value>, field);
  auto const record = only(field, native(number_type_of<Value>()));
  std::vector<Value> values(index(size()));
  require(values.empty() || H5Dread(id(), record.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0, "read");
  return values;
}

std::vector<std::string> Hdf5Dataset::read_field_strings(std::string const& field, StringLimits const& limits) const {
  auto const type = member(field);
  if (H5Tget_class(type.id()) != H5T_STRING)
    fail(ExitCode::bad_input, "field '{}' of {} holds no text", field, place());
  auto const record = only(field, type.id());
  return strings_of(type.id(), record.id(), limits);
}

// --- writing
// ------------------------------------------------------------------------------------------------------------

void Hdf5Dataset::write(NumberType from_type, std::int64_t begin, std::int64_t rows_given, void const* from,
                        bool together) {
  auto const [space, memory] = selection(begin, rows_given);
  if (!together && H5Sget_select_npoints(space.id()) == 0) return;
  Hdf5Handle const transfer(H5Pcreate(H5P_DATASET_XFER), H5Pclose);
  if (together) H5Pset_dxpl_mpio(transfer.id(), H5FD_MPIO_COLLECTIVE);
  Hdf5Handle const stored(check(H5Dget_type(id()), "read the type of"), H5Tclose);
  bool const is_enumeration = H5Tget_class(stored.id()) == H5T_ENUM;  // HDF5 does not turn numbers into enumerations
  hid_t const type = is_enumeration ? stored.id() : native(from_type);
  std::optional<Operation> waiting;
  if (together) waiting.emplace("write by all ranks");
  require(H5Dwrite(id(), type, memory.id(), space.id(), transfer.id(), from) >= 0, "write");
}

template <class Value>
void Hdf5Dataset::write(std::int64_t begin, std::span<Value const> values, bool together) {
  std::int64_t const row = shape_.empty() || shape_[0] == 0 ? 1 : size() / shape_[0];
  write(number_type_of<Value>(), begin, row == 0 ? 0 : static_cast<std::int64_t>(values.size()) / row, values.data(),
        together);
}

std::vector<char> Hdf5Dataset::read_chunk(std::int64_t begin) const {
  std::vector<hsize_t> start(shape_.size(), 0);
  start.at(0) = static_cast<hsize_t>(begin);
  hsize_t bytes = 0;
  require(H5Dget_chunk_storage_size(id(), start.data(), &bytes) >= 0, "read a chunk of");
  std::vector<char> filtered(bytes);
  std::uint32_t left_out = 0;
  require(H5Dread_chunk(id(), H5P_DEFAULT, start.data(), &left_out, filtered.data()) >= 0 && left_out == 0,
          "read a chunk of");
  return filtered;
}

void Hdf5Dataset::write_chunk(std::int64_t begin, std::span<char const> filtered) {
  std::vector<hsize_t> start(shape_.size(), 0);
  start.at(0) = static_cast<hsize_t>(begin);
  require(H5Dwrite_chunk(id(), H5P_DEFAULT, 0, start.data(), filtered.size(), filtered.data()) >= 0,
          "write a chunk of");
}

#define RETORT_STORABLE(Value)                                                     \
  template std::vector<Value> Hdf5Dataset::read() const;                           \
  template std::vector<Value> Hdf5Dataset::read(std::int64_t, std::int64_t) const; \
  template std::vector<Value> Hdf5Dataset::read_field(std::string const&) const;   \
  template void Hdf5Dataset::write(std::int64_t, std::span<Value const>, bool);
RETORT_STORABLE(std::int8_t)
RETORT_STORABLE(std::int16_t)
RETORT_STORABLE(std::int32_t)
RETORT_STORABLE(std::int64_t)
RETORT_STORABLE(std::uint8_t)
RETORT_STORABLE(std::uint16_t)
RETORT_STORABLE(std::uint32_t)
RETORT_STORABLE(std::uint64_t)
RETORT_STORABLE(float)
RETORT_STORABLE(double)

}  // namespace retort
