#include "retort/files/hdf5.hpp"

#include <gtest/gtest.h>

#include "../shared_folder.hpp"
#include "retort/ranks/share.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

namespace fs = std::filesystem;

TEST(Hdf5, keeps_numbers_texts_and_attributes) {
  auto const ranks = Communicator::serial();
  SharedFolder const folder(ranks, "hdf5_keeps");
  fs::path const path = folder.path / "a.h5";
  {
    auto file = Hdf5File::create(path);
    auto group = file.create_group("obs");
    group.write_numbers<std::int64_t>("rows", {1, -2, std::int64_t{1} << 40});
    group.write_numbers<std::uint8_t>("empty", {});
    group.write_strings("names", {"α-cell", "", "T cell"});
    group.write_string("note", "one");
    group.write_number<double>("pi", 3.25);
    auto flags = group.create_bools("flags", {3});
    std::vector<std::int8_t> const values{0, 1, 1};
    flags.write(0, std::span(values));
    group.set_attribute("encoding-type", std::string("dataframe"));
    group.set_attribute("columns", std::vector<std::string>{"a", "b"});
    group.set_attribute("shape", std::vector<std::int64_t>{3, 4});
    group.set_attribute("ordered", false);
    auto zipped = group.create_dataset("zipped", NumberType::u16, {5, 2}, {2, 4});
    std::vector<std::uint16_t> const table{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    zipped.write(0, std::span(table));
  }
  auto const file = Hdf5File::open(path);
  auto const group = file.group("obs");
  EXPECT_EQ(group.dataset("rows").read<std::int64_t>(), (std::vector<std::int64_t>{1, -2, std::int64_t{1} << 40}));
  EXPECT_EQ(group.dataset("rows").read<std::int64_t>(1, 1), std::vector<std::int64_t>{-2});
  EXPECT_TRUE(group.dataset("empty").read<std::uint8_t>().empty());
  EXPECT_EQ(group.dataset("names").read_strings(), (std::vector<std::string>{"α-cell", "", "T cell"}));
  EXPECT_EQ(file.dataset("obs/note").read_strings().at(0), "one");
  EXPECT_TRUE(file.dataset("obs/note").shape().empty());
  EXPECT_EQ(group.dataset("pi").read<double>().at(0), 3.25);
  EXPECT_TRUE(group.dataset("flags").is_bool());
  EXPECT_EQ(group.dataset("flags").read<std::int8_t>(), (std::vector<std::int8_t>{0, 1, 1}));
  EXPECT_EQ(group.string_attribute("encoding-type"), "dataframe");
  EXPECT_FALSE(group.string_attribute("absent").has_value());
  EXPECT_EQ(group.strings_attribute("columns"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(group.integers_attribute("shape"), (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(group.integers_attribute("ordered"), std::vector<std::int64_t>{0});
  auto const zipped = group.dataset("zipped");
  EXPECT_EQ(zipped.chunk_rows(), 2);
  EXPECT_FALSE(zipped.offset().has_value());
  EXPECT_EQ(zipped.read<float>(3, 2), (std::vector<float>{7, 8, 9, 10}));
  EXPECT_EQ(file.kind("obs/names/deeper"), Hdf5Kind::absent);
  EXPECT_EQ(file.names(), std::vector<std::string>{"obs"});

  auto const offset = group.dataset("rows").offset();
  EXPECT_TRUE(offset.has_value());
  std::ifstream stream(path, std::ios::binary);
  stream.seekg(offset.value_or(0));
  std::int64_t raw[3] = {};
  stream.read(reinterpret_cast<char*>(raw), sizeof raw);
  EXPECT_EQ(raw[1], -2);
}

TEST(Hdf5, equal_contents_are_equal_bytes) {
  auto const ranks = Communicator::serial();
  SharedFolder const folder(ranks, "hdf5_equal");
  auto const bytes = [&](char const* name) {
    {
      auto file = Hdf5File::create(folder.path / name);
      file.create_group("g").write_strings("s", {"a", "b"});
      file.write_numbers<float>("n", std::vector<float>(30000, 1.5f));
    }
    return bytes_of_file(folder / name);
  };
  EXPECT_TRUE(bytes("a") == bytes("b"));
}

TEST(Hdf5, reads_one_field_of_records) {
  auto const ranks = Communicator::serial();
  SharedFolder const folder(ranks, "hdf5_records");
  struct Record {
    char name[8];
    std::int32_t code;
    float weight;
  };
  {
    auto file = Hdf5File::create(folder.path / "a.h5");
    Hdf5Handle const text(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(text.id(), 8);
    Hdf5Handle const type(H5Tcreate(H5T_COMPOUND, sizeof(Record)), H5Tclose);
    H5Tinsert(type.id(), "index", HOFFSET(Record, name), text.id());
    H5Tinsert(type.id(), "code", HOFFSET(Record, code), H5T_NATIVE_INT32);
    H5Tinsert(type.id(), "weight", HOFFSET(Record, weight), H5T_NATIVE_FLOAT);
    hsize_t const two = 2;
    Hdf5Handle const space(H5Screate_simple(1, &two, nullptr), H5Sclose);
    Hdf5Handle const set(H5Dcreate2(file.id(), "obs", type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                         H5Dclose);
    Record const records[2] = {{"cell_on", 7, 0.5f}, {"two", -1, 2.0f}};
    EXPECT_GE(H5Dwrite(set.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, records), 0);
  }
  auto const file = Hdf5File::open(folder.path / "a.h5");
  auto const obs = file.dataset("obs");
  EXPECT_EQ(obs.fields(), (std::vector<std::string>{"index", "code", "weight"}));
  EXPECT_TRUE(obs.field_is_string("index"));
  EXPECT_EQ(obs.read_field_strings("index"), (std::vector<std::string>{"cell_on", "two"}));
  EXPECT_EQ(obs.read_field<std::int64_t>("code"), (std::vector<std::int64_t>{7, -1}));
  EXPECT_EQ(obs.read_field<double>("weight"), (std::vector<double>{0.5, 2.0}));
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { obs.read_field<std::int32_t>("weight"); }).find("whole numbers"),
            std::string::npos);
}

TEST(Hdf5, refuses_what_a_stranger_may_bring) {
  auto const ranks = Communicator::serial();
  SharedFolder const folder(ranks, "hdf5_refuses");
  fs::path const path = folder.path / "a.h5";
  {
    auto file = Hdf5File::create(path);
    file.write_numbers<float>("floats", std::vector<float>(100000, 0.5f));
    file.write_strings("names", {"short", std::string(300, 'x')});
    H5Lcreate_external("/etc/secret.h5", "X", file.id(), "outside", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/floats", file.id(), "soft", H5P_DEFAULT, H5P_DEFAULT);
    hsize_t const many = hsize_t{1} << 50;
    hsize_t const chunk = 1024;
    Hdf5Handle const space(H5Screate_simple(1, &many, nullptr), H5Sclose);
    Hdf5Handle const list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_chunk(list.id(), 1, &chunk);
    Hdf5Handle const set(
        H5Dcreate2(file.id(), "huge", H5T_NATIVE_INT64, space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT), H5Dclose);
    Hdf5Handle const other(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    hsize_t const ten = 10;
    Hdf5Handle const small(H5Screate_simple(1, &ten, nullptr), H5Sclose);
    H5Pset_external(other.id(), "/etc/passwd", 0, 10);
    Hdf5Handle const elsewhere(
        H5Dcreate2(file.id(), "elsewhere", H5T_NATIVE_UINT8, small.id(), H5P_DEFAULT, other.id(), H5P_DEFAULT),
        H5Dclose);
  }
  auto const bad = ExitCode::bad_input;
  {
    auto const file = Hdf5File::open(path);
    EXPECT_NE(failure_of(bad, [&] { file.dataset("outside"); }).find("external link"), std::string::npos);
    EXPECT_NE(failure_of(bad, [&] { file.dataset("outside/deeper"); }).find("external link"), std::string::npos);
    EXPECT_NE(failure_of(bad, [&] { file.dataset("soft"); }).find("soft link"), std::string::npos);
    EXPECT_NE(failure_of(bad, [&] { file.dataset("huge"); }).find("claims"), std::string::npos);
    EXPECT_NE(failure_of(bad, [&] { file.dataset("elsewhere"); }).find("other files"), std::string::npos);
    EXPECT_NE(failure_of(bad, [&] { file.dataset("absent"); }).find("'absent'"), std::string::npos);
    EXPECT_NE(failure_of(bad, [&] { file.group("floats"); }).find("data set"), std::string::npos);
    EXPECT_NE(failure_of(bad, [&] { file.dataset("floats").read<std::int32_t>(); }).find("float32"), std::string::npos);
    EXPECT_NE(failure_of(bad, [&] { file.dataset("floats").read_strings(); }).find("no text"), std::string::npos);
    EXPECT_NE(failure_of(bad, [&] { file.dataset("floats").read<float>(99999, 2); }).find("100000 rows"),
              std::string::npos);
    EXPECT_NE(failure_of(bad,
                         [&] {
                           file.dataset("names").read_strings({100, 1000});
                         })
                  .find("text 1 has 300 bytes"),
              std::string::npos);
    EXPECT_NE(failure_of(bad,
                         [&] {
                           file.dataset("names").read_strings({1000, 200});
                         })
                  .find("more than 200"),
              std::string::npos);
  }
  failure_of(ExitCode::missing_input, [&] { Hdf5File::open(folder.path / "absent.h5"); });
  failure_of(ExitCode::cannot_write, [&] { Hdf5File::create(folder.path / "no" / "folder.h5"); });
  std::ofstream(folder.path / "text.h5") << "no HDF5 at all";
  failure_of(bad, [&] { Hdf5File::open(folder.path / "text.h5"); });
  fs::resize_file(path, fs::file_size(path) / 2);
  failure_of(bad, [&] { Hdf5File::open(path).dataset("floats").read<float>(); });
}

TEST(Hdf5, ranks_write_one_file_together) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "hdf5_together");
  fs::path const path = folder.path / "a.h5";
  constexpr std::int64_t rows = 1000;
  auto const share = share_of(rows, ranks.rank(), ranks.size());
  std::vector<std::int32_t> mine(index(share.size() * 2));
  for (std::size_t i = 0; i < mine.size(); ++i)
    mine[i] = static_cast<std::int32_t>(share.begin * 2) + static_cast<std::int32_t>(i);
  {
    auto file = Hdf5File::create(ranks, path);
    auto group = file.create_group("obsm");
    {
      auto alone = group.create_dataset("alone", NumberType::u16, {rows, 2});
      alone.write(share.begin, std::span<std::int32_t const>(mine));  // converted, each rank by itself
      auto set = group.create_dataset("together", NumberType::i64, {rows, 2});
      bool const has_some = ranks.rank() == 0;  // the others take part with nothing
      set.write(has_some ? 0 : share.begin, std::span<std::int32_t const>(mine.data(), has_some ? mine.size() : 0),
                true);
    }
  }
  ranks.barrier();
  auto const file = Hdf5File::open(path);
  auto const alone = file.dataset("obsm/alone").read<std::int32_t>();
  EXPECT_EQ(std::ssize(alone), 2 * rows);
  for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_EQ(alone[i], static_cast<std::int32_t>(i));
  auto const together = file.dataset("obsm/together").read<std::int64_t>(0, 1);
  EXPECT_EQ(together, (std::vector<std::int64_t>{0, 1}));
}

}  // namespace
}  // namespace retort
