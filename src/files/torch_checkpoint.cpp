#include "retort/files/torch_checkpoint.hpp"

#include <ATen/ATen.h>
#include <caffe2/serialize/inline_container.h>

#include "pickle_reader.hpp"
#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

PickleNode const* find(PickleNode const& dictionary, std::string const& key) {
  for (auto const& [name, value] : dictionary->pairs) {
    if (name->kind == PickleValue::Kind::text && name->text == key) return &value;
  }
  return nullptr;
}

std::map<std::string, at::Tensor> read_tensors(std::filesystem::path const& file, std::string const& key) {
  caffe2::serialize::PyTorchStreamReader archive(file.string());
  auto const storage = [&](std::string const& record, at::ScalarType type, std::int64_t length) {
    auto [data, bytes] = archive.getRecord("data/" + record);
    if (length < 0 || static_cast<std::uint64_t>(length) > bytes / c10::elementSize(type))
      throw std::runtime_error("storage '" + record + "' is shorter than it says");
    return at::from_blob(data.get(), {length}, type).clone();
  };
  auto const [pickle, size] = archive.getRecord("data.pkl");
  auto const content = read_pickle({static_cast<char const*>(pickle.get()), size}, storage);
  if (content->kind != PickleValue::Kind::dictionary) throw std::runtime_error("it holds no dictionary");
  auto const* const state = find(content, key);
  if (!state || (*state)->kind != PickleValue::Kind::dictionary)
    throw std::runtime_error("it has no dictionary '" + key + "'");
  std::map<std::string, at::Tensor> tensors;
  for (auto const& [name, value] : (*state)->pairs) {
    if (name->kind != PickleValue::Kind::text || value->kind != PickleValue::Kind::tensor)
      throw std::runtime_error("'" + key + "' holds something that is no tensor");
    tensors[name->text] = value->tensor;
  }
  return tensors;
}

}  // namespace

std::map<std::string, at::Tensor> read_torch_checkpoint(std::filesystem::path const& file, std::string const& key) {
  require_input(file, "checkpoint");
  try {
    return read_tensors(file, key);
  } catch (std::exception const& error) {
    std::string const text = error.what();
    fail(ExitCode::bad_input,
         "'{}' cannot be read as a torch checkpoint ({}). Save it with torch.save of PyTorch 1.6 or later",
         file.string(), text.substr(0, text.find('\n')));
  }
}

}  // namespace retort
