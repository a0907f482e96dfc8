#include "retort/models/scdg.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "retort/kernels/frozen_linear.hpp"
#include "retort/kernels/shard_parameters.hpp"
#include "retort/layers/layers.hpp"
#include "retort/layers/silu_of_norm.hpp"
#include "retort/models/weights_folder.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

// A Linear layer that freeze() packs for a few rows at a time.
struct PackedLinear {
  Linear linear;
  std::optional<FrozenLinear> frozen;  // from freeze() on
  at::Tensor operator()(at::Tensor const& x, std::int64_t shards) const {
    return frozen ? (*frozen)(x) : linear(x, shards);
  }
};

// SiLU(LayerNorm(Linear(x) + Linear(SiLU(embedding)))); the second product is the layer's condition. `shards` 0 is a
// batch of one piece; otherwise how many shards the rows belong to.
struct Layer {
  PackedLinear input;
  Linear condition;
  LayerNorm norm;
  at::Tensor operator()(at::Tensor const& x, at::Tensor const& added, std::int64_t shards) const {
    return silu_of_norm(norm, input(x, shards), added, shards);
  }
};

constexpr double epsilon = 1e-5;
constexpr std::int64_t widest = 1 << 16;

Layer make_layer(Parameters& parameters, std::string const& name, std::int64_t in, std::int64_t out,
                 std::int64_t embedding) {
  Linear const input = make_linear(parameters, name + ".input", in, out);
  Linear const condition = make_linear(parameters, name + ".condition", embedding, out);
  return {{input, {}}, condition, make_layer_norm(parameters, name + ".norm", out, epsilon)};
}

}  // namespace

struct Scdg::Weights {
  explicit Weights(std::uint64_t seed) : all(seed, network::scdg) {}

  Linear time_in, time_out;
  at::Tensor class_table;  // [classes, hidden[0]]
  std::vector<Layer> down, up;
  PackedLinear head_in, head_out;
  LayerNorm head_norm;
  Parameters all;
};

Scdg::Scdg(ScdgShape shape, std::uint64_t seed) : shape_(std::move(shape)), weights_(std::make_shared<Weights>(seed)) {
  if (shape_.hidden.size() < 2)
    fail(ExitCode::usage, "the denoiser has {} hidden layers (it needs two: one is wide, one is the middle)",
         shape_.hidden.size());
  for (auto const width : shape_.hidden)
    if (width < 2 || width > widest || width % 2)
      fail(ExitCode::usage, "the denoiser has a hidden layer of width {} (widths are even, from 2 to {})", width,
           widest);
  if (shape_.latent_scale == 0) shape_.latent_scale = std::sqrt(static_cast<double>(shape_.latent));
  auto const& hidden = shape_.hidden;
  std::int64_t const embedding = hidden[0];
  Weights& w = *weights_;
  w.time_in = make_linear(w.all, "time.in", embedding, embedding);
  w.time_out = make_linear(w.all, "time.out", embedding, embedding);
  w.class_table = w.all.normal("classes", {shape_.classes, embedding});
  for (std::size_t i = 0; i < hidden.size(); ++i)
    w.down.push_back(
        make_layer(w.all, fmt::format("down.{}", i), i ? hidden[i - 1] : shape_.latent, hidden[i], embedding));
  for (std::size_t i = 0; i + 1 < hidden.size(); ++i)
    w.up.push_back(make_layer(w.all, fmt::format("up.{}", i), hidden[hidden.size() - 1 - i],
                              hidden[hidden.size() - 2 - i], embedding));
  std::int64_t const wide = 2 * hidden[1];
  w.head_in.linear = make_linear(w.all, "head.in", hidden[0], wide);
  w.head_norm = make_layer_norm(w.all, "head.norm", wide, epsilon);
  w.head_out.linear = make_linear(w.all, "head.out", wide, shape_.latent);
}

std::vector<at::Tensor> Scdg::parameters() const { return weights_->all.tensors(); }

void Scdg::freeze() {
  Weights& w = *weights_;
  w.all.freeze();
  auto pack = [](PackedLinear& layer) { layer.frozen.emplace(layer.linear.weight.t(), layer.linear.bias); };
  for (auto* layers : {&w.down, &w.up})
    for (auto& layer : *layers) pack(layer.input);
  pack(w.head_in);
  pack(w.head_out);
}

std::vector<at::Tensor> Scdg::condition(at::Tensor const& t, at::Tensor const& classes, std::int64_t shards) const {
  Weights const& w = *weights_;
  at::Tensor const waves = by_shard(t, std::max<std::int64_t>(shards, 1), [&](std::int64_t, at::Tensor const& part) {
    return sinusoids(part, shape_.hidden[0], SinusoidOrder::cosine_first);
  });
  at::Tensor const time = w.time_out(silu(w.time_in(waves, shards), shards), shards);
  at::Tensor const of_class =
      shards ? shard_embedding(w.class_table, classes, shards) : at::embedding(w.class_table, classes);
  at::Tensor const embedding = silu(time + of_class, shards);  // [n, hidden[0]]
  std::vector<at::Tensor> conditions;
  for (auto const& layer : w.down) conditions.push_back(layer.condition(embedding, shards));
  for (auto const& layer : w.up) conditions.push_back(layer.condition(embedding, shards));
  return conditions;
}

at::Tensor Scdg::denoise(at::Tensor const& latents, std::vector<at::Tensor> const& conditions,
                         std::int64_t shards) const {
  Weights const& w = *weights_;
  at::Tensor x = latents;
  std::vector<at::Tensor> passed;
  std::size_t i = 0;
  for (auto const& layer : w.down) passed.push_back(x = layer(x, conditions[i++], shards));
  passed.pop_back();  // the middle is not added to itself
  for (auto const& layer : w.up) {
    x = layer(x, conditions[i++], shards) + passed.back();
    passed.pop_back();
  }
  return w.head_out(silu_of_norm(w.head_norm, w.head_in(x, shards), {}, shards), shards);
}

at::Tensor Scdg::denoise(at::Tensor const& latents, at::Tensor const& t, at::Tensor const& classes,
                         std::int64_t shards) const {
  return denoise(latents, condition(t, classes, shards), shards);
}

void Scdg::save(std::filesystem::path const& folder, std::vector<std::string> const& class_names,
                std::string const& encoder, std::string const& atlas) const {
  save_network(folder, weights_->all,
               {{"model", "scdg"},
                {"latent", shape_.latent},
                {"hidden", shape_.hidden},
                {"latent_scale", shape_.latent_scale},
                {"schedule", {{"name", "linear"}, {"steps", 1000}, {"beta_min", 1e-4}, {"beta_max", 0.1}}},
                {"prediction", "x0"},
                {"classes", class_names},
                {"encoder", encoder},
                {"atlas", atlas}});
}

Scdg Scdg::load(std::filesystem::path const& folder) {
  ScdgShape shape;
  std::vector<std::string> class_names;
  std::string encoder, atlas;
  read_network_config(folder, "scdg", "generator", [&](nlohmann::json const& config) {
    shape.latent = config.at("latent").get<std::int64_t>();
    shape.hidden = config.at("hidden").get<std::vector<std::int64_t>>();
    shape.latent_scale = config.at("latent_scale").get<double>();
    class_names = config.at("classes").get<std::vector<std::string>>();
    encoder = config.at("encoder").get<std::string>();
    atlas = config.at("atlas").get<std::string>();
  });
  // A hostile file must not ask for any amount of memory: two neighbouring widths have a matrix in the weights' file.
  auto const values = numbers_in(folder, "scdg");
  bool sane = shape.latent > 0 && shape.latent <= widest && !class_names.empty() && shape.latent_scale > 0 &&
              shape.hidden.size() >= 2 && shape.hidden.size() <= 64;
  std::int64_t before = shape.latent;
  for (std::int64_t const width : shape.hidden) {
    sane = sane && width > 0 && width <= widest && width % 2 == 0 && before * width <= values;
    before = width;
  }
  if (!sane)
    fail(ExitCode::bad_input, "'{}' has sizes that cannot be (a width, the classes or the scale). Train it again",
         (folder / "config.json").string());
  shape.classes = static_cast<std::int64_t>(class_names.size());

  Scdg model(std::move(shape), 0);
  model.class_names_ = std::move(class_names);
  model.encoder_ = std::move(encoder);
  model.atlas_ = std::move(atlas);
  load_parameters(folder, "scdg", model.weights_->all);
  return model;
}

}  // namespace retort
