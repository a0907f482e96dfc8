#include "retort/generate/scrdit_generator.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "retort/models/weights_folder.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

// A hostile file must not ask for any amount of memory: what its sizes multiply to is in the weights' file.
constexpr std::int64_t widest = 1 << 14;

bool is_sane(ScrditTransformerShape const& shape, std::int64_t numbers) {
  return shape.patch > 0 && shape.genes > 0 && shape.genes % shape.patch == 0 &&
         shape.genes / shape.patch <= most_scrdit_tokens && shape.width > 0 && shape.width <= widest &&
         shape.width % 4 == 0 && shape.heads > 0 && shape.width % shape.heads == 0 && shape.depth > 0 &&
         shape.depth <= widest && shape.depth * shape.width <= numbers / shape.width &&
         shape.patch <= numbers / shape.width;
}

bool is_sane(ScrditUnetShape const& shape, std::int64_t numbers) {
  return shape.genes > 0 && shape.genes % genes_divisor(shape) == 0 && shape.channels > 0 && shape.channels <= widest &&
         shape.channels % 4 == 0 && shape.channels <= numbers / shape.channels;
}

ScrditShape shape_of(nlohmann::json const& config, std::int64_t genes) {
  std::string const network = config.at("network");
  if (network == "unet") return ScrditUnetShape{.genes = genes, .channels = config.at("channels")};
  if (network != "transformer") fail(ExitCode::usage, "the network is '{}' (it is transformer or unet)", network);
  return ScrditTransformerShape{.genes = genes,
                                .patch = config.at("patch"),
                                .width = config.at("width"),
                                .depth = config.at("blocks"),
                                .heads = config.at("heads")};
}

bool is_sane(ScrditValues const& values, std::size_t genes) {
  bool const finite =
      std::all_of(values.mean.begin(), values.mean.end(), [](double mean) { return std::isfinite(mean); });
  return values.zero_value <= 0 && std::isfinite(values.zero_value) && finite &&
         (values.mean.empty() || values.mean.size() == genes) && values.scale > 0 && std::isfinite(values.scale);
}

at::Tensor means_of(ScrditValues const& values) { return at::tensor(values.mean, at::kDouble).to(at::kFloat); }

}  // namespace

at::Tensor ScrditValues::shown(at::Tensor const& expression) const {
  at::Tensor const negated = negated_zeros(expression, zero_value);
  return mean.empty() ? negated / scale : (negated - means_of(*this)) / scale;
}

at::Tensor ScrditValues::expression(at::Tensor const& samples) const {
  return clamped_at_zero(mean.empty() ? samples * scale : samples * scale + means_of(*this));
}

std::string ScrditGenerator::network_name() const {
  return std::holds_alternative<ScrditUnetShape>(network.shape()) ? "unet" : "transformer";
}

void ScrditGenerator::save(std::filesystem::path const& folder) const {
  nlohmann::json config{{"model", "scrdit"},          {"network", network_name()},
                        {"genes", gene_names},        {"zero_value", values.zero_value},
                        {"mean", values.mean},        {"scale", values.scale},
                        {"values", "log_normalised"}, {"label", label},
                        {"classes", classes},         {"atlas", atlas}};
  auto const shape = network.shape();
  if (auto const* unet = std::get_if<ScrditUnetShape>(&shape))
    config["channels"] = unet->channels;
  else if (auto const* transformer = std::get_if<ScrditTransformerShape>(&shape))
    config.update({{"patch", transformer->patch},
                   {"width", transformer->width},
                   {"blocks", transformer->depth},
                   {"heads", transformer->heads}});
  save_network(folder, network.parameters(), config);
}

ScrditGenerator ScrditGenerator::load(std::filesystem::path const& folder) {
  std::optional<ScrditGenerator> generator;
  read_network_config(folder, "scrdit", "generator", [&](nlohmann::json const& config) {
    auto names = config.at("genes").get<std::vector<std::string>>();
    auto const shape = shape_of(config, std::ssize(names));
    ScrditValues values{config.at("zero_value"), config.at("mean").get<std::vector<double>>(), config.at("scale")};
    auto const numbers = numbers_in(folder, "scrdit");
    if (!std::visit([&](auto const& sizes) { return is_sane(sizes, numbers); }, shape) ||
        !is_sane(values, names.size()))
      fail(
          ExitCode::bad_input,
          "'{}' describes another network than the weights beside it hold (a file was cut or replaced). Train it again",
          (folder / "config.json").string());
    generator.emplace(ScrditGenerator{ScrditNetwork(shape, 0), std::move(names), std::move(values), config.at("label"),
                                      config.at("classes").get<std::vector<std::string>>(), config.at("atlas")});
  });
  load_parameters(folder, "scrdit", generator->network.parameters());
  return std::move(*generator);
}

}  // namespace retort
