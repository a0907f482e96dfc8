#include "retort/models/cell_vae.hpp"

#include <fstream>
#include <nlohmann/json.hpp>

#include "retort/models/scldm_vae.hpp"
#include "retort/models/scvi_vae.hpp"
#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {

std::unique_ptr<CellVae> load_vae(std::filesystem::path const& folder) {
  require_input(folder / "config.json", "autoencoder");
  std::ifstream stream(folder / "config.json");
  auto const config = nlohmann::json::parse(stream, nullptr, false);
  if (config.is_object() && config.contains("model") && config["model"] == "scvi_vae") return ScviVae::load(folder);
  return ScldmVae::load(folder);
}

}  // namespace retort
