// A network on disk: a folder of config.json, which says what it is, and weights as safetensors.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "retort/layers/parameters.hpp"

namespace retort {

// Publishes FOLDER/config.json, with the weights' hash beside what `config` says, and
// FOLDER/<config["model"]>.safetensors. Not collective: one rank calls it. Throws Failure(cannot_write).
void save_network(std::filesystem::path const& folder, Parameters const& parameters, nlohmann::json const& config);

// FOLDER/config.json, whose "model" must be `model`, given to `read`; `what` it is, for messages ("generator"). Throws
// Failure(missing_input), and Failure(bad_input) where it is no JSON or `read` misses something in it.
void read_network_config(std::filesystem::path const& folder, std::string const& model, std::string const& what,
                         std::function<void(nlohmann::json const&)> const& read);

// Which model FOLDER/config.json says that the folder holds. Throws Failure(missing_input, bad_input) as above.
std::string model_in(std::filesystem::path const& folder, std::string const& what);

// How many float32 FOLDER/<model>.safetensors can hold at most: a hostile config.json must not ask for more memory.
// Throws Failure(missing_input).
std::int64_t numbers_in(std::filesystem::path const& folder, std::string const& model);

// Fills the parameters from FOLDER/<model>.safetensors by name. Throws Failure(missing_input), or Failure(bad_input)
// where one is missing or has another shape or type, or where the hash in config.json is of other weights.
void load_parameters(std::filesystem::path const& folder, std::string const& model, Parameters const& parameters);

}  // namespace retort
