// Safetensors: what is written is read, its layout is the format's, and broken files are refused with their name.
#include "retort/files/safetensors.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>

#include "retort/run/error.hpp"

using namespace retort;

namespace {

// Files of this process, removed when it ends.
struct Scratch {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("retort_safetensors_{}", ::getpid());
  Scratch() { std::filesystem::create_directories(path); }
  ~Scratch() { std::filesystem::remove_all(path); }
};

std::filesystem::path scratch(std::string const& name) {
  static Scratch const folder;
  return folder.path / name;
}

std::filesystem::path write_raw(std::string const& header, std::string const& data, std::uint64_t claimed) {
  auto const file = scratch("raw");
  std::ofstream stream(file, std::ios::binary);
  stream.write(reinterpret_cast<char const*>(&claimed), 8);
  stream << header << data;
  return file;
}

void expect_refused(std::string const& header, std::string const& data, char const* why) {
  auto const file = write_raw(header, data, header.size());
  try {
    read_safetensors(file);
    ADD_FAILURE() << "accepted: " << header;
  } catch (Failure const& failure) {
    EXPECT_EQ(failure.code, ExitCode::bad_input);
    EXPECT_NE(std::string(failure.what()).find(why), std::string::npos) << failure.what();
  }
}

}  // namespace

TEST(Safetensors, RoundTrip) {
  auto const file = scratch("round");
  Safetensors out{{{"b.weight", torch::randn({3, 5})},
                   {"a", torch::randn({7}).t()},
                   {"steps", torch::scalar_tensor(42, at::kLong)},
                   {"none", torch::empty({0, 4})}},
                  {{"model", "test"}}};
  out.tensors["turned"] = torch::randn({2, 6}).t();  // not contiguous
  write_safetensors(file, out);
  auto const in = read_safetensors(file);
  EXPECT_EQ(in.metadata, out.metadata);
  EXPECT_EQ(in.tensors.size(), out.tensors.size());
  for (auto const& [name, tensor] : out.tensors) EXPECT_TRUE(torch::equal(in.tensors.at(name), tensor)) << name;

  std::ifstream stream(file, std::ios::binary);
  std::uint64_t length = 0;
  stream.read(reinterpret_cast<char*>(&length), 8);
  EXPECT_EQ(length % 8, 0u);
}

TEST(Safetensors, WidensHalves) {
  auto const half = torch::tensor({1.5f, -2.0f}).to(at::kHalf);
  std::string const data(static_cast<char const*>(half.const_data_ptr()), 4);
  std::string const header = R"({"x":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})";
  auto const in = read_safetensors(write_raw(header, data, header.size()));
  EXPECT_TRUE(torch::equal(in.tensors.at("x"), torch::tensor({1.5f, -2.0f})));
}

TEST(Safetensors, RefusesHostileFiles) {
  expect_refused(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,12]}})", std::string(12, 'a'), "disagree");
  expect_refused(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "abcd", "outside");
  expect_refused(R"({"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", std::string(8, 'a'), "shape");
  expect_refused(R"({"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", "", "larger");
  expect_refused(R"({"x":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", std::string(8, 'a'), "F64");
  expect_refused(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", std::string(8, 'a'), "gap");
  expect_refused(
      R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      std::string(4, 'a'), "overlap");
  expect_refused(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", std::string(9, 'a'), "longer");
  expect_refused(R"({"x":{"shape":[1],"data_offsets":[0,4]}})", std::string(4, 'a'), "dtype");
  expect_refused(R"([1])", "", "JSON");
  expect_refused(R"({"x":)", "", "JSON");
  EXPECT_THROW(read_safetensors(write_raw("{}", "", 1'000'000)), Failure);
  EXPECT_THROW(read_safetensors(write_raw("{}", "", ~std::uint64_t{0})), Failure);
  EXPECT_THROW(read_safetensors(scratch("missing")), Failure);
}
