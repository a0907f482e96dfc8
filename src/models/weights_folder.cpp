#include "retort/models/weights_folder.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <fstream>

#include "retort/files/safetensors.hpp"
#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

std::filesystem::path weights_of(std::filesystem::path const& folder, std::string const& model) {
  return folder / (model + ".safetensors");
}

void read_config(std::filesystem::path const& folder, std::string const& what,
                 std::function<void(nlohmann::json const&)> const& read) {
  auto const file = folder / "config.json";
  require_input(file, what);
  std::ifstream stream(file);
  try {
    read(nlohmann::json::parse(stream));
  } catch (nlohmann::json::exception const& fault) {
    fail(ExitCode::bad_input, "'{}' is no description of a {} ({}). Train it again", file.string(), what, fault.what());
  } catch (Failure const& fault) {
    // A name that no setting has: nobody typed it, the file is broken.
    if (fault.code != ExitCode::usage) throw;
    fail(ExitCode::bad_input, "'{}' is no description of a {} ({}). Train it again", file.string(), what, fault.what());
  }
}

}  // namespace

void save_network(std::filesystem::path const& folder, Parameters const& parameters, nlohmann::json const& config) {
  std::filesystem::path const pending = folder.string() + ".pending";
  std::error_code error;
  std::filesystem::remove_all(pending, error);
  std::filesystem::create_directories(pending, error);
  if (error) fail(ExitCode::cannot_write, "cannot make folder '{}' ({})", pending.string(), error.message());
  Safetensors content;
  for (auto const& [name, tensor] : parameters.named()) content.tensors[name] = tensor.detach().cpu().contiguous();
  write_safetensors(weights_of(pending, config.at("model")), content);
  auto described = config;
  described["weights"] = parameters.hash();
  write_text(pending / "config.json", json_text(described, 1) + "\n");
  publish(pending, folder);
}

void read_network_config(std::filesystem::path const& folder, std::string const& model, std::string const& what,
                         std::function<void(nlohmann::json const&)> const& read) {
  read_config(folder, what, [&](nlohmann::json const& config) {
    if (config.at("model") != model)
      fail(ExitCode::bad_input, "'{}' holds a model {} ({} is needed)", (folder / "config.json").string(),
           config.at("model").dump(), model);
    read(config);
  });
}

std::string model_in(std::filesystem::path const& folder, std::string const& what) {
  std::string model;
  read_config(folder, what, [&](nlohmann::json const& config) { model = config.at("model"); });
  return model;
}

std::int64_t numbers_in(std::filesystem::path const& folder, std::string const& model) {
  auto const file = weights_of(folder, model);
  require_input(file, "weights");
  return static_cast<std::int64_t>(std::filesystem::file_size(file) / sizeof(float));
}

void load_parameters(std::filesystem::path const& folder, std::string const& model, Parameters const& parameters) {
  auto const file = weights_of(folder, model);
  auto const content = read_safetensors(file);
  at::NoGradGuard const no_graph;
  for (auto const& [name, tensor] : parameters.named()) {
    auto const found = content.tensors.find(name);
    if (found == content.tensors.end())
      fail(ExitCode::bad_input, "'{}' has no tensor '{}' (config.json asks for it)", file.string(), name);
    if (found->second.sizes() != tensor.sizes() || found->second.scalar_type() != at::kFloat)
      fail(ExitCode::bad_input, "tensor '{}' of '{}' has another shape or type than config.json says", name,
           file.string());
    tensor.copy_(found->second);
  }
  read_config(folder, "model", [&](nlohmann::json const& config) {
    if (auto const held = config.find("weights"); held != config.end() && *held != parameters.hash())
      fail(ExitCode::bad_input,
           "'{}' holds other weights than config.json says (a file was damaged, or edited). Train it again",
           file.string());
  });
}

}  // namespace retort
