#include "retort/files/hdf5.hpp"

#include "hdf5_types.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/run_folder.hpp"
#include "retort/run/watchdog.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

constexpr std::int64_t most_attribute_values = 1 << 16;

Hdf5Handle access_list() {
  hdf5_types::start();
  Hdf5Handle list(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(list.id(), false, true);  // parallel file systems often refuse locks
  return list;
}

}  // namespace

Hdf5Handle& Hdf5Handle::operator=(Hdf5Handle&& other) noexcept {
  if (this != &other) {
    close();
    id_ = other.id_;
    close_ = other.close_;
    other.id_ = -1;
  }
  return *this;
}

void Hdf5Handle::close() noexcept {
  if (id_ >= 0 && close_) close_(id_);
  id_ = -1;
}

hid_t Hdf5Handle::release() noexcept {
  hid_t const id = id_;
  id_ = -1;
  return id;
}

char const* name_of(NumberType type) {
  constexpr char const* names[] = {"int8",   "int16",  "int32",  "int64",   "uint8",
                                   "uint16", "uint32", "uint64", "float32", "float64"};
  return names[index(type)];
}

std::string Hdf5Object::place() const { return fmt::format("'{}' {}", origin_->file, path_.empty() ? "/" : path_); }

void Hdf5Object::failed(char const* operation, std::string const& child) const {
  std::string const where =
      child.empty() ? place() : fmt::format("'{}' {}{}{}", origin_->file, path_, path_.empty() ? "" : "/", child);
  if (origin_->writing)
    fail(ExitCode::cannot_write, "cannot {} {} (HDF5: {}). Free space or choose another run.folder", operation, where,
         hdf5_types::last_words());
  fail(ExitCode::bad_input, "cannot {} {} (HDF5: {}). The file may be damaged", operation, where,
       hdf5_types::last_words());
}
hid_t Hdf5Object::check(hid_t id, char const* operation, std::string const& child) const {
  if (id < 0) failed(operation, child);
  return id;
}
void Hdf5Object::require(bool ok, char const* operation, std::string const& child) const {
  if (!ok) failed(operation, child);
}

// --- attributes
// ---------------------------------------------------------------------------------------------------------

bool Hdf5Object::has_attribute(std::string const& name) const { return H5Aexists(id(), name.c_str()) > 0; }

std::vector<std::string> Hdf5Object::attribute_names() const {
  std::vector<std::string> names;
  auto const take = [](hid_t, char const* name, H5A_info_t const*, void* into) -> herr_t {
    static_cast<std::vector<std::string>*>(into)->emplace_back(name);
    return 0;
  };
  require(H5Aiterate2(id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, take, &names) >= 0, "list the attributes of");
  return names;
}

std::optional<std::string> Hdf5Object::string_attribute(std::string const& name) const {
  if (!has_attribute(name)) return std::nullopt;
  Hdf5Handle const attribute(check(H5Aopen(id(), name.c_str(), H5P_DEFAULT), "open an attribute of"), H5Aclose);
  Hdf5Handle const type(check(H5Aget_type(attribute.id()), "read an attribute of"), H5Tclose);
  Hdf5Handle const space(check(H5Aget_space(attribute.id()), "read an attribute of"), H5Sclose);
  if (H5Tget_class(type.id()) != H5T_STRING || H5Sget_simple_extent_npoints(space.id()) != 1) return std::nullopt;
  return strings_attribute(name).at(0);
}

std::vector<std::string> Hdf5Object::strings_attribute(std::string const& name) const {
  std::vector<std::string> texts;
  if (!has_attribute(name)) return texts;
  Hdf5Handle const attribute(check(H5Aopen(id(), name.c_str(), H5P_DEFAULT), "open an attribute of"), H5Aclose);
  Hdf5Handle const type(check(H5Aget_type(attribute.id()), "read an attribute of"), H5Tclose);
  Hdf5Handle const space(check(H5Aget_space(attribute.id()), "read an attribute of"), H5Sclose);
  std::int64_t const count = H5Sget_simple_extent_npoints(space.id());
  if (count == 0) return texts;  // h5py writes an empty list as numbers
  if (H5Tget_class(type.id()) != H5T_STRING)
    fail(ExitCode::bad_input, "attribute '{}' of {} is not text", name, place());
  if (count < 0 || count > most_attribute_values)
    fail(ExitCode::bad_input, "attribute '{}' of {} has {} values (too many)", name, place(), count);
  StringLimits const limits{1 << 16, 1 << 24};
  std::int64_t total = limits.total;
  hdf5_types::append_texts(
      type.id(), type.id(), space.id(), H5P_DEFAULT, count,
      [&](void* into) { require(H5Aread(attribute.id(), type.id(), into) >= 0, "read an attribute of"); },
      [&](std::string const& problem) { fail(ExitCode::bad_input, "attribute '{}' of {} {}", name, place(), problem); },
      limits, total, texts);
  return texts;
}

std::vector<std::int64_t> Hdf5Object::integers_attribute(std::string const& name) const {
  if (!has_attribute(name)) return {};
  Hdf5Handle const attribute(check(H5Aopen(id(), name.c_str(), H5P_DEFAULT), "open an attribute of"), H5Aclose);
  Hdf5Handle const type(check(H5Aget_type(attribute.id()), "read an attribute of"), H5Tclose);
  Hdf5Handle const space(check(H5Aget_space(attribute.id()), "read an attribute of"), H5Sclose);
  auto const kind = H5Tget_class(type.id());
  std::int64_t const count = H5Sget_simple_extent_npoints(space.id());
  if (kind != H5T_INTEGER && kind != H5T_ENUM)
    fail(ExitCode::bad_input, "attribute '{}' of {} is not a whole number", name, place());
  if (count < 0 || count > most_attribute_values)
    fail(ExitCode::bad_input, "attribute '{}' of {} has {} values (too many)", name, place(), count);
  std::vector<std::int64_t> numbers(index(count));
  require(count == 0 || H5Aread(attribute.id(), H5T_NATIVE_INT64, numbers.data()) >= 0, "read an attribute of");
  return numbers;
}

namespace {

Hdf5Handle new_attribute(hid_t object, std::string const& name, hid_t type, hid_t space) {
  if (H5Aexists(object, name.c_str()) > 0) H5Adelete(object, name.c_str());
  return {H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose};
}

Hdf5Handle line_of(std::size_t count) {
  hsize_t const length = count;
  return {H5Screate_simple(1, &length, nullptr), H5Sclose};
}

}  // namespace

void Hdf5Object::set_attribute(std::string const& name, std::string const& text) {
  auto const type = hdf5_types::utf8_type();
  Hdf5Handle const space(H5Screate(H5S_SCALAR), H5Sclose);
  auto const attribute = new_attribute(id(), name, type.id(), space.id());
  char const* value = text.c_str();
  require(attribute.id() >= 0 && H5Awrite(attribute.id(), type.id(), &value) >= 0, "write an attribute of");
}

void Hdf5Object::set_attribute(std::string const& name, bool value) {
  auto const type = hdf5_types::bool_type();
  Hdf5Handle const space(H5Screate(H5S_SCALAR), H5Sclose);
  auto const attribute = new_attribute(id(), name, type.id(), space.id());
  std::int8_t const number = value;
  require(attribute.id() >= 0 && H5Awrite(attribute.id(), type.id(), &number) >= 0, "write an attribute of");
}

void Hdf5Object::set_attribute(std::string const& name, std::vector<std::string> const& texts) {
  auto const type = hdf5_types::utf8_type();
  auto const space = line_of(texts.size());
  std::vector<char const*> values;
  for (auto const& text : texts) values.push_back(text.c_str());
  auto const attribute = new_attribute(id(), name, type.id(), space.id());
  require(attribute.id() >= 0 && (texts.empty() || H5Awrite(attribute.id(), type.id(), values.data()) >= 0),
          "write an attribute of");
}

void Hdf5Object::set_attribute(std::string const& name, std::vector<std::int64_t> const& numbers) {
  auto const space = line_of(numbers.size());
  auto const attribute = new_attribute(id(), name, H5T_NATIVE_INT64, space.id());
  require(attribute.id() >= 0 && (numbers.empty() || H5Awrite(attribute.id(), H5T_NATIVE_INT64, numbers.data()) >= 0),
          "write an attribute of");
}

// --- files
// --------------------------------------------------------------------------------------------------------------

Hdf5File Hdf5File::open(fs::path const& file) {
  auto const list = access_list();
  require_input(file, "input");
  auto const origin = std::make_shared<Origin>(Origin{file.string(), false});
  if (fs::is_directory(file) || H5Fis_hdf5(file.c_str()) <= 0)
    fail(ExitCode::bad_input, "'{}' is not an HDF5 file (its first bytes are others). Give an .h5ad or 10x .h5 file",
         file.string());
  Hdf5Handle handle(H5Fopen(file.c_str(), H5F_ACC_RDONLY, list.id()), H5Fclose);
  if (handle.id() < 0)
    fail(ExitCode::bad_input, "cannot open '{}' (HDF5: {}). The file is damaged or was cut short", file.string(),
         hdf5_types::last_words());
  return {std::move(handle), origin};
}

namespace {

[[noreturn]] void cannot(char const* operation, fs::path const& file) {
  fail(ExitCode::cannot_write, "cannot {} '{}' (HDF5: {}). Check the folder and its free space", operation,
       file.string(), hdf5_types::last_words());
}

}  // namespace

namespace {

// For writing: data sets begin at page borders, so that ranks that write side by side do not share one.
Hdf5Handle writing_list(Communicator const* ranks) {
  auto list = access_list();
  H5Pset_alignment(list.id(), 1 << 16, 4096);
  H5Pset_fclose_degree(list.id(), H5F_CLOSE_SEMI);
  if (ranks) H5Pset_fapl_mpio(list.id(), ranks->handle(), MPI_INFO_NULL);
  return list;
}

// Closing a parallel file waits for all ranks.
herr_t close_together(hid_t id) {
  if (is_unwinding_alone()) return 0;
  Operation waiting("closing of a file that all ranks write");
  return H5Fclose(id);
}

Hdf5Handle created(fs::path const& file, Communicator const* ranks) {
  Operation waiting("creation of a file");
  auto const list = writing_list(ranks);
  Hdf5Handle handle(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, list.id()), ranks ? close_together : H5Fclose);
  if (handle.id() < 0) cannot("create", file);
  return handle;
}

Hdf5Handle extended(fs::path const& file, Communicator const* ranks) {
  Operation waiting("opening of a file to extend");
  auto const list = writing_list(ranks);
  Hdf5Handle handle(H5Fopen(file.c_str(), H5F_ACC_RDWR, list.id()), ranks ? close_together : H5Fclose);
  if (handle.id() < 0) cannot("open", file);
  return handle;
}

}  // namespace

Hdf5File Hdf5File::create(fs::path const& file) {
  return {created(file, nullptr), std::make_shared<Origin>(Origin{file.string(), true})};
}
Hdf5File Hdf5File::extend(fs::path const& file) {
  return {extended(file, nullptr), std::make_shared<Origin>(Origin{file.string(), true})};
}
Hdf5File Hdf5File::create(Communicator const& ranks, fs::path const& file) {
  return {created(file, &ranks), std::make_shared<Origin>(Origin{file.string(), true})};
}
Hdf5File Hdf5File::extend(Communicator const& ranks, fs::path const& file) {
  return {extended(file, &ranks), std::make_shared<Origin>(Origin{file.string(), true})};
}

Hdf5File Hdf5File::in_memory() {
  auto const list = access_list();
  H5Pset_fapl_core(list.id(), 1 << 20, false);
  Hdf5Handle handle(H5Fcreate("memory", H5F_ACC_TRUNC, H5P_DEFAULT, list.id()), H5Fclose);
  if (handle.id() < 0) cannot("create", "memory");
  return {std::move(handle), std::make_shared<Origin>(Origin{"memory", true})};
}

void Hdf5File::close() {
  require(H5Fflush(id(), H5F_SCOPE_LOCAL) >= 0, "flush");
  require(H5Fclose(handle_.release()) >= 0, "close");
}

}  // namespace retort
