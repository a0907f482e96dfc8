#include "retort/models/scimilarity.hpp"

#include <ATen/ATen.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "retort/cells/gene_vocabulary.hpp"
#include "retort/files/torch_checkpoint.hpp"
#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

namespace fs = std::filesystem;

// layer_sizes.json lists the shapes of the encoder's tensors by name.
void check_layer_sizes(fs::path const& file, StateDict const& encoder) {
  require_input(file, "layer sizes");
  std::ifstream stream(file);
  auto const sizes = nlohmann::json::parse(stream, nullptr, false);
  if (!sizes.is_object()) fail(ExitCode::bad_input, "'{}' is not a JSON object", file.string());
  for (auto const& [name, shape] : sizes.items()) {
    auto const found = encoder.find(name);
    if (found == encoder.end() || shape != nlohmann::json(found->second.sizes().vec())) {
      fail(ExitCode::bad_input, "'{}' says that tensor '{}' is {}, and encoder.ckpt disagrees", file.string(), name,
           shape.dump());
    }
  }
}

}  // namespace

Foundation import_scimilarity(fs::path const& folder) {
  require_input(folder, "SCimilarity model");
  auto const encoder = read_torch_checkpoint(folder / "encoder.ckpt", "state_dict");
  check_layer_sizes(folder / "layer_sizes.json", encoder);
  return Foundation::from_state(encoder, read_torch_checkpoint(folder / "decoder.ckpt", "state_dict"),
                                read_vocabulary(folder / "gene_order.tsv"), folder.string());
}

}  // namespace retort
