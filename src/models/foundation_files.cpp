// Foundation to and from files: SCimilarity's names, safetensors and config.json.
#include <ATen/ATen.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "retort/files/safetensors.hpp"
#include "retort/models/foundation.hpp"
#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

namespace fs = std::filesystem;

// A layer that begins with Dropout has its Linear at 1, else at 0; BatchNorm and PReLU follow.
int linear_place(bool is_encoder, std::size_t layer) { return is_encoder || layer > 0 ? 1 : 0; }
std::string name_of(std::size_t layer, int place, char const* what) {
  return fmt::format("network.{}.{}.{}", layer, place, what);
}

StateDict state_of(std::vector<HiddenLayer> const& layers, at::Tensor const& weight, at::Tensor const& bias,
                   bool is_encoder, std::int64_t steps) {
  StateDict state;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    auto const& layer = layers[i];
    int const place = linear_place(is_encoder, i);
    state[name_of(i, place, "weight")] = is_encoder && i == 0 ? layer.weight.t() : layer.weight;
    state[name_of(i, place, "bias")] = layer.bias;
    state[name_of(i, place + 1, "weight")] = layer.scale;
    state[name_of(i, place + 1, "bias")] = layer.shift;
    state[name_of(i, place + 1, "running_mean")] = layer.running_mean;
    state[name_of(i, place + 1, "running_var")] = layer.running_variance;
    state[name_of(i, place + 1, "num_batches_tracked")] = at::scalar_tensor(steps, at::kLong);
    state[name_of(i, place + 2, "weight")] = layer.slope;
  }
  state[fmt::format("network.{}.weight", layers.size())] = weight;
  state[fmt::format("network.{}.bias", layers.size())] = bias;
  for (auto& [name, tensor] : state) tensor = tensor.detach().cpu().contiguous();
  return state;
}

// Takes tensors out of a state dict by name, and says which are wrong or left over.
class StateReader {
 public:
  StateReader(StateDict const& state, std::string source, bool is_encoder)
      : state_(state), source_(std::move(source)), is_encoder_(is_encoder) {}

  // -1 in `shape` takes any length.
  at::Tensor take(std::string const& name, std::vector<std::int64_t> const& shape) {
    auto const found = state_.find(name);
    if (found == state_.end())
      fail(ExitCode::bad_input, "'{}' has no tensor '{}' (it is no SCimilarity-shaped {})", source_, name,
           is_encoder_ ? "encoder" : "decoder");
    taken_.insert(name);
    at::Tensor const& tensor = found->second;
    bool fits = tensor.dim() == static_cast<std::int64_t>(shape.size());
    for (std::size_t i = 0; fits && i < shape.size(); ++i)
      fits = shape[i] < 0 ? tensor.size(static_cast<std::int64_t>(i)) > 0
                          : tensor.size(static_cast<std::int64_t>(i)) == shape[i];
    if (!fits)
      fail(ExitCode::bad_input, "'{}' has tensor '{}' of shape [{}] (the layers beside it ask for [{}])", source_, name,
           fmt::join(tensor.sizes(), ", "), fmt::join(shape, ", "));
    return tensor.to(at::kFloat).contiguous();
  }

  std::vector<HiddenLayer> take_layers() {
    std::vector<HiddenLayer> layers;
    std::int64_t in = -1;
    while (state_.contains(name_of(layers.size(), linear_place(is_encoder_, layers.size()) + 1, "running_mean"))) {
      auto const i = layers.size();
      int const place = linear_place(is_encoder_, i);
      HiddenLayer layer;
      layer.weight = take(name_of(i, place, "weight"), {-1, in});
      auto const out = layer.weight.size(0);
      in = out;
      layer.bias = take(name_of(i, place, "bias"), {out});
      layer.scale = take(name_of(i, place + 1, "weight"), {out});
      layer.shift = take(name_of(i, place + 1, "bias"), {out});
      layer.running_mean = take(name_of(i, place + 1, "running_mean"), {out});
      layer.running_variance = take(name_of(i, place + 1, "running_var"), {out});
      layer.slope = take(name_of(i, place + 2, "weight"), {1});
      taken_.insert(name_of(i, place + 1, "num_batches_tracked"));
      layers.push_back(std::move(layer));
    }
    if (layers.empty())
      fail(ExitCode::bad_input, "'{}' has no hidden layer (no tensor '{}')", source_,
           name_of(0, linear_place(is_encoder_, 0) + 1, "running_mean"));
    return layers;
  }

  void refuse_rest() const {
    for (auto const& [name, tensor] : state_) {
      if (!taken_.contains(name))
        fail(ExitCode::bad_input, "'{}' has an unknown tensor '{}' (residual and other variants are not read)", source_,
             name);
    }
  }

 private:
  StateDict const& state_;
  std::set<std::string> taken_;
  std::string source_;
  bool is_encoder_;
};

}  // namespace

StateDict Foundation::encoder_state() const {
  return state_of(encoder_layers, encoder_weight, encoder_bias, true, trained_steps);
}
StateDict Foundation::decoder_state() const {
  return state_of(decoder_layers, decoder_weight, decoder_bias, false, trained_steps);
}

Foundation Foundation::from_state(StateDict const& encoder, StateDict const& decoder,
                                  std::vector<std::string> gene_names, std::string const& source) {
  Foundation model;
  StateReader of_encoder(encoder, source, true), of_decoder(decoder, source, false);
  model.encoder_layers = of_encoder.take_layers();
  auto const genes = model.encoder_layers[0].weight.size(1);
  auto const last = fmt::format("network.{}.", model.encoder_layers.size());
  model.encoder_weight = of_encoder.take(last + "weight", {-1, model.encoder_layers.back().width()});
  auto const latent = model.encoder_weight.size(0);
  model.encoder_bias = of_encoder.take(last + "bias", {latent});
  of_encoder.refuse_rest();
  model.decoder_layers = of_decoder.take_layers();
  auto const last_of_decoder = fmt::format("network.{}.", model.decoder_layers.size());
  model.decoder_weight = of_decoder.take(last_of_decoder + "weight", {genes, model.decoder_layers.back().width()});
  model.decoder_bias = of_decoder.take(last_of_decoder + "bias", {genes});
  of_decoder.refuse_rest();
  if (model.decoder_layers[0].weight.size(1) != latent)
    fail(ExitCode::bad_input, "'{}' has an encoder of {} latents and a decoder of {}", source, latent,
         model.decoder_layers[0].weight.size(1));
  if (static_cast<std::int64_t>(gene_names.size()) != genes)
    fail(ExitCode::bad_input, "'{}' names {} genes, and its encoder has {}", source, gene_names.size(), genes);
  model.encoder_layers[0].weight = model.encoder_layers[0].weight.t().contiguous();
  model.shape_.genes = genes;
  model.shape_.latent = latent;
  model.shape_.hidden.clear();
  for (auto const& layer : model.encoder_layers) model.shape_.hidden.push_back(layer.width());
  model.gene_names_ = std::move(gene_names);
  model.freeze();
  return model;
}

void Foundation::save(fs::path const& folder, std::vector<std::string> const& gene_names,
                      nlohmann::json const& more) const {
  fs::path const pending = folder.string() + ".pending";
  std::error_code error;
  fs::remove_all(pending, error);
  fs::create_directories(pending, error);
  if (error) fail(ExitCode::cannot_write, "cannot make folder '{}' ({})", pending.string(), error.message());
  std::string const hash = weights_hash();
  write_safetensors(pending / "encoder.safetensors",
                    {encoder_state(), {{"model", "retort foundation encoder"}, {"weights", hash}}});
  write_safetensors(pending / "decoder.safetensors",
                    {decoder_state(), {{"model", "retort foundation decoder"}, {"weights", hash}}});
  nlohmann::json config{{"model", "retort foundation"}, {"genes", shape_.genes}, {"hidden", shape_.hidden},
                        {"latent", shape_.latent},      {"weights", hash},       {"steps", trained_steps},
                        {"gene_names", gene_names}};
  if (more.is_object()) config.update(more);
  write_text(pending / "config.json", json_text(config, 1) + "\n");
  publish(pending, folder);
}

Foundation Foundation::load(fs::path const& folder) {
  require_input(folder, "foundation model");
  require_input(folder / "config.json", "foundation model");
  std::ifstream stream(folder / "config.json");
  auto const config = nlohmann::json::parse(stream, nullptr, false);
  std::string const file = (folder / "config.json").string();
  bool const has_names = config.is_object() && config.contains("gene_names") && config["gene_names"].is_array() &&
                         std::all_of(config["gene_names"].begin(), config["gene_names"].end(),
                                     [](auto const& name) { return name.is_string(); });
  if (!has_names) fail(ExitCode::bad_input, "'{}' is not a foundation model's config (no gene_names)", file);
  auto model = from_state(read_safetensors(folder / "encoder.safetensors").tensors,
                          read_safetensors(folder / "decoder.safetensors").tensors,
                          config["gene_names"].get<std::vector<std::string>>(), folder.string());
  if (auto const steps = config.find("steps"); steps != config.end() && steps->is_number_integer())
    model.trained_steps = steps->get<std::int64_t>();
  if (auto const held = config.find("weights"); held != config.end() && *held != model.weights_hash()) {
    fail(ExitCode::bad_input,
         "'{}' holds other weights than its config says (a file was changed or replaced). Train or import again",
         folder.string());
  }
  return model;
}

}  // namespace retort
