#include "retort/models/scimilarity.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "retort/cells/gene_vocabulary.hpp"
#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

namespace fs = std::filesystem;

StateDict read_checkpoint(fs::path const& file) {
  require_input(file, "checkpoint");
  std::ifstream stream(file, std::ios::binary);
  std::vector<char> const bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  c10::IValue content;
  try {
    content = torch::jit::pickle_load(bytes);
  } catch (std::exception const& error) {
    std::string const text = error.what();
    fail(ExitCode::bad_input, "'{}' cannot be read as a torch checkpoint ({})", file.string(), text.substr(0, text.find('\n')));
  }
  auto const refuse = [&] { fail(ExitCode::bad_input, "'{}' is not a SCimilarity checkpoint (no dictionary of tensors under 'state_dict')", file.string()); };
  if (!content.isGenericDict()) refuse();
  auto const outer = content.toGenericDict();
  if (!outer.contains("state_dict") || !outer.at("state_dict").isGenericDict()) refuse();
  StateDict state;
  for (auto const& entry : outer.at("state_dict").toGenericDict()) {
    if (!entry.key().isString() || !entry.value().isTensor()) refuse();
    state[entry.key().toStringRef()] = entry.value().toTensor().detach().cpu();
  }
  return state;
}

// layer_sizes.json lists the shapes of the encoder's tensors by name.
void check_layer_sizes(fs::path const& file, StateDict const& encoder) {
  require_input(file, "layer sizes");
  std::ifstream stream(file);
  auto const sizes = nlohmann::json::parse(stream, nullptr, false);
  if (!sizes.is_object()) fail(ExitCode::bad_input, "'{}' is not a JSON object", file.string());
  for (auto const& [name, shape] : sizes.items()) {
    auto const found = encoder.find(name);
    if (found == encoder.end() || shape != nlohmann::json(found->second.sizes().vec())) {
      fail(ExitCode::bad_input, "'{}' says that tensor '{}' is {}, and encoder.ckpt disagrees", file.string(), name, shape.dump());
    }
  }
}

}  // namespace

Foundation import_scimilarity(fs::path const& folder) {
  require_input(folder, "SCimilarity model");
  auto const encoder = read_checkpoint(folder / "encoder.ckpt");
  check_layer_sizes(folder / "layer_sizes.json", encoder);
  return Foundation::from_state(encoder, read_checkpoint(folder / "decoder.ckpt"), read_vocabulary(folder / "gene_order.tsv"), folder.string());
}

}  // namespace retort
