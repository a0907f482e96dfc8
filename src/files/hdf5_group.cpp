#include <array>

#include "hdf5_types.hpp"
#include "retort/files/hdf5.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

std::string joined(std::string const& path, std::string const& name) { return path.empty() ? name : path + "/" + name; }

hid_t stored(NumberType type) {  // little-endian, whatever the machine
  std::array<hid_t, 10> const types{H5T_STD_I8LE,  H5T_STD_I16LE, H5T_STD_I32LE, H5T_STD_I64LE,  H5T_STD_U8LE,
                                    H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_U64LE, H5T_IEEE_F32LE, H5T_IEEE_F64LE};
  return types[index(type)];
}

Hdf5Handle space_of(std::vector<std::int64_t> const& shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  std::vector<hsize_t> const extent(shape.begin(), shape.end());
  return {H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose};
}

Hdf5Handle timeless() {
  Hdf5Handle list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(list.id(), false);
  return list;
}

Hdf5Handle creation_list(std::vector<std::int64_t> const& shape, std::size_t bytes, Hdf5Layout const& layout) {
  auto list = timeless();
  H5Pset_alloc_time(list.id(), H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(list.id(), H5D_FILL_TIME_NEVER);  // every element is written anyway
  bool const empty = std::ranges::find(shape, 0) != shape.end();
  if (layout.chunk > 0 && !shape.empty() && !empty) {
    std::vector<hsize_t> chunk(shape.begin(), shape.end());
    chunk[0] = static_cast<hsize_t>(std::min(layout.chunk, shape[0]));
    H5Pset_alloc_time(list.id(), H5D_ALLOC_TIME_INCR);
    H5Pset_chunk(list.id(), static_cast<int>(chunk.size()), chunk.data());
    if (layout.gzip > 0) {
      if (bytes > 1) H5Pset_shuffle(list.id());
      H5Pset_deflate(list.id(), static_cast<unsigned>(layout.gzip));
    }
  }
  return list;
}

}  // namespace

std::vector<std::string> Hdf5Group::names() const {
  std::vector<std::string> found;
  auto const take = [](hid_t, char const* name, H5L_info_t const*, void* into) -> herr_t {
    static_cast<std::vector<std::string>*>(into)->emplace_back(name);
    return 0;
  };
  require(H5Literate(id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, take, &found) >= 0, "list");
  return found;
}

Hdf5Kind Hdf5Group::kind(std::string const& child) const {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = child.find('/', end + 1);
    std::string const part = child.substr(0, end);
    if (H5Lexists(id(), part.c_str(), H5P_DEFAULT) <= 0) return Hdf5Kind::absent;
    H5L_info_t link;
    require(H5Lget_info(id(), part.c_str(), &link, H5P_DEFAULT) >= 0, "read the link", part);
    if (link.type != H5L_TYPE_HARD)
      fail(ExitCode::bad_input,
           "'{}' {} is {} link (links are not followed, they may leave the file). Copy the file with its data, e.g. by "
           "h5repack",
           origin_->file, joined(path_, part), link.type == H5L_TYPE_SOFT ? "a soft" : "an external");
    Hdf5Handle const object(check(H5Oopen(id(), part.c_str(), H5P_DEFAULT), "open", part), H5Oclose);
    auto const type = H5Iget_type(object.id());
    if (end == std::string::npos)
      return type == H5I_GROUP ? Hdf5Kind::group : type == H5I_DATASET ? Hdf5Kind::dataset : Hdf5Kind::other;
    if (type != H5I_GROUP) return Hdf5Kind::absent;
  }
  return Hdf5Kind::absent;
}

Hdf5Group Hdf5Group::group(std::string const& child) const {
  auto const found = kind(child);
  if (found != Hdf5Kind::group)
    fail(ExitCode::bad_input, "'{}' has {} '{}'", origin_->file,
         found == Hdf5Kind::absent ? "no group" : "a data set where a group is expected:", joined(path_, child));
  Hdf5Handle handle(check(H5Gopen2(id(), child.c_str(), H5P_DEFAULT), "open", child), H5Gclose);
  return {std::move(handle), origin_, joined(path_, child)};
}

Hdf5Dataset Hdf5Group::dataset(std::string const& child) const {
  auto const found = kind(child);
  if (found != Hdf5Kind::dataset)
    fail(ExitCode::bad_input, "'{}' has {} '{}'", origin_->file,
         found == Hdf5Kind::absent ? "no data set" : "a group where a data set is expected:", joined(path_, child));
  Hdf5Handle handle(check(H5Dopen2(id(), child.c_str(), H5P_DEFAULT), "open", child), H5Dclose);
  Hdf5Dataset opened(std::move(handle), origin_, joined(path_, child));
  if (!origin_->writing) opened.require_plain();
  return opened;
}

Hdf5Group Hdf5Group::create_group(std::string const& name) {
  Hdf5Handle const list(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
  H5Pset_obj_track_times(list.id(), false);
  Hdf5Handle handle(check(H5Gcreate2(id(), name.c_str(), H5P_DEFAULT, list.id(), H5P_DEFAULT), "create", name),
                    H5Gclose);
  return {std::move(handle), origin_, joined(path_, name)};
}

Hdf5Group Hdf5Group::copy_group(Hdf5Group const& source, std::string const& name) {
  require(H5Ocopy(source.id(), ".", id(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT) >= 0, "copy", name);
  return group(name);
}

Hdf5Dataset Hdf5Group::create_dataset(std::string const& name, NumberType type, std::vector<std::int64_t> const& shape,
                                      Hdf5Layout const& layout) {
  auto const space = space_of(shape);
  auto const list = creation_list(shape, index(bytes_of(type)), layout);
  Hdf5Handle handle(check(H5Dcreate2(id(), name.c_str(), stored(type), space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT),
                          "create", name),
                    H5Dclose);
  return {std::move(handle), origin_, joined(path_, name)};
}

Hdf5Dataset Hdf5Group::create_bools(std::string const& name, std::vector<std::int64_t> const& shape) {
  auto const type = hdf5_types::bool_type();
  auto const space = space_of(shape);
  auto const list = creation_list(shape, 1, {});
  Hdf5Handle handle(
      check(H5Dcreate2(id(), name.c_str(), type.id(), space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT), "create", name),
      H5Dclose);
  return {std::move(handle), origin_, joined(path_, name)};
}

Hdf5Dataset Hdf5Group::write_strings(std::string const& name, std::vector<std::string> const& texts) {
  auto const type = hdf5_types::utf8_type();
  auto const space = space_of({static_cast<std::int64_t>(texts.size())});
  auto const list = timeless();
  Hdf5Handle handle(
      check(H5Dcreate2(id(), name.c_str(), type.id(), space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT), "create", name),
      H5Dclose);
  std::vector<char const*> values;
  for (auto const& text : texts) values.push_back(text.c_str());
  require(texts.empty() || H5Dwrite(handle.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0, "write",
          name);
  return {std::move(handle), origin_, joined(path_, name)};
}

Hdf5Dataset Hdf5Group::write_string(std::string const& name, std::string const& text) {
  auto const type = hdf5_types::utf8_type();
  auto const space = space_of({});
  auto const list = timeless();
  Hdf5Handle handle(
      check(H5Dcreate2(id(), name.c_str(), type.id(), space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT), "create", name),
      H5Dclose);
  char const* value = text.c_str();
  require(H5Dwrite(handle.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &value) >= 0, "write", name);
  return {std::move(handle), origin_, joined(path_, name)};
}

template <class Value>
Hdf5Dataset Hdf5Group::write_numbers(std::string const& name, std::vector<Value> const& values) {
  auto made = create_dataset(name, number_type_of<Value>(), {static_cast<std::int64_t>(values.size())});
  made.write(0, std::span<Value const>(values));
  return made;
}

template <class Value>
Hdf5Dataset Hdf5Group::write_number(std::string const& name, Value value) {
  auto made = create_dataset(name, number_type_of<Value>(), {});
  made.write(0, std::span<Value const>(&value, 1));
  return made;
}

#define RETORT_WRITABLE(Value)                                                                  \
  template Hdf5Dataset Hdf5Group::write_numbers(std::string const&, std::vector<Value> const&); \
  template Hdf5Dataset Hdf5Group::write_number(std::string const&, Value);
RETORT_WRITABLE(std::int8_t)
RETORT_WRITABLE(std::int16_t)
RETORT_WRITABLE(std::int32_t)
RETORT_WRITABLE(std::int64_t)
RETORT_WRITABLE(std::uint8_t)
RETORT_WRITABLE(std::uint16_t)
RETORT_WRITABLE(std::uint32_t)
RETORT_WRITABLE(std::uint64_t)
RETORT_WRITABLE(float)
RETORT_WRITABLE(double)

}  // namespace retort
