// scLDM's autoencoder on disk: scldm_vae.safetensors beside config.json.
#include <algorithm>
#include <array>

#include "retort/models/scldm_vae.hpp"
#include "retort/models/weights_folder.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::array fusions{"log1p", "concat"}, token_genes{"expressed", "all"};
constexpr std::array likelihoods{"nb", "nb_cell", "gaussian"};

template <class Value, class Names>
Value value_of(Names const& names, std::string const& name, char const* setting) {
  auto const found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) fail(ExitCode::usage, "{} is '{}' (known are {})", setting, name, fmt::join(names, ", "));
  return static_cast<Value>(found - names.begin());
}

}  // namespace

std::string name_of(Fusion fusion) { return fusions[index(fusion)]; }
std::string name_of(TokenGenes genes) { return token_genes[index(genes)]; }
std::string name_of(CellLikelihood likelihood) { return likelihoods[index(likelihood)]; }
Fusion fusion_of(std::string const& name) { return value_of<Fusion>(fusions, name, "vae.fusion"); }
TokenGenes token_genes_of(std::string const& name) {
  return value_of<TokenGenes>(token_genes, name, "vae.token_genes");
}
CellLikelihood likelihood_of(std::string const& name) {
  return value_of<CellLikelihood>(likelihoods, name, "vae.likelihood");
}

void ScldmVae::save(std::filesystem::path const& folder, VaeOrigin const& from) const {
  save_network(folder, parameters(),
               {{"model", "scldm_vae"},
                {"genes", from.gene_names},
                {"atlas", from.atlas},
                {"width", shape_.width},
                {"tokens", shape_.tokens},
                {"latent", shape_.latent},
                {"blocks", shape_.blocks},
                {"heads", shape_.heads},
                {"cross_heads", shape_.cross_heads},
                {"length", shape_.length},
                {"fusion", name_of(shape_.fusion)},
                {"token_genes", name_of(shape_.token_genes)},
                {"likelihood", name_of(shape_.likelihood)},
                {"posterior", shape_.posterior}});
}

std::unique_ptr<ScldmVae> ScldmVae::load(std::filesystem::path const& folder) {
  ScldmVaeShape shape;
  VaeOrigin from;
  read_network_config(folder, "scldm_vae", "autoencoder", [&](nlohmann::json const& config) {
    from = {config.at("genes").get<std::vector<std::string>>(), config.at("atlas").get<std::string>()};
    shape.genes = std::ssize(from.gene_names);
    shape.width = config.at("width"), shape.tokens = config.at("tokens"), shape.latent = config.at("latent"),
    shape.blocks = config.at("blocks");
    shape.heads = config.at("heads"), shape.cross_heads = config.at("cross_heads"), shape.length = config.at("length");
    shape.fusion = fusion_of(config.at("fusion")), shape.token_genes = token_genes_of(config.at("token_genes")),
    shape.likelihood = likelihood_of(config.at("likelihood"));
    shape.posterior = config.at("posterior");
  });
  // A hostile file must not ask for any amount of memory: what these sizes multiply to is in the weights' file.
  constexpr std::int64_t widest = 1 << 14;
  auto const numbers = numbers_in(folder, "scldm_vae");
  bool const sane = shape.genes > 0 && shape.width > 0 && shape.width <= widest && shape.tokens > 0 &&
                    shape.tokens <= widest && shape.latent > 1 && shape.latent <= widest && shape.blocks >= 0 &&
                    shape.blocks <= widest && shape.heads > 0 && shape.width % shape.heads == 0 &&
                    shape.cross_heads > 0 && shape.width % shape.cross_heads == 0 && shape.length >= 0 &&
                    shape.genes * shape.width <= numbers && shape.blocks * shape.width * shape.width <= numbers &&
                    shape.tokens * shape.width <= numbers && shape.latent * shape.width <= numbers;
  if (!sane)
    fail(ExitCode::bad_input,
         "'{}' describes another network than the weights beside it hold (a file was cut or replaced). Train it again",
         (folder / "config.json").string());
  auto vae = std::make_unique<ScldmVae>(shape, 0);
  load_parameters(folder, "scldm_vae", vae->parameters());
  vae->origin = std::move(from);
  return vae;
}

}  // namespace retort
