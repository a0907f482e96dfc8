#include "retort/models/scdg.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "retort/kernels/accumulating_linear.hpp"
#include "retort/kernels/frozen_linear.hpp"
#include "retort/models/safetensors.hpp"
#include "retort/run/error.hpp"
#include "retort/run/random.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {

NoiseSchedule::NoiseSchedule(std::int64_t steps, double beta_min, double beta_max) {
  double product = 1;
  for (std::int64_t t = 0; t < steps; ++t) {
    double const share = steps > 1 ? static_cast<double>(t) / static_cast<double>(steps - 1) : 0;
    product *= 1 - (beta_min + (beta_max - beta_min) * share);
    alpha_bar_.push_back(product);
  }
}

namespace {

struct Linear {
  at::Tensor weight, bias;             // [out, in], [out]
  std::optional<FrozenLinear> frozen;  // from freeze() on
  // In training the weight's gradient is added where the arena keeps it, without autograd's extra array.
  at::Tensor operator()(at::Tensor const& x) const { return frozen ? (*frozen)(x) : accumulating_linear(x, weight, bias, weight.grad()); }
};

struct LayerNorm {
  at::Tensor scale, shift;  // [width]
  at::Tensor operator()(at::Tensor const& x) const { return at::layer_norm(x, scale.sizes(), scale, shift, 1e-5); }
};

// SiLU(LayerNorm(Linear(x) + Linear(SiLU(embedding)))); the second product is the layer's condition.
struct Layer {
  Linear input, condition;
  LayerNorm norm;
  at::Tensor operator()(at::Tensor const& x, at::Tensor const& added) const { return at::silu(norm(input(x) + added)); }
};

// Gives every new parameter its name and its own stream of random numbers.
class Initialiser {
 public:
  Initialiser(std::uint64_t seed, std::vector<std::pair<std::string, at::Tensor>>& named) : seed_(seed), named_(named) {}

  at::Tensor constant(std::string const& name, std::vector<std::int64_t> const& sizes, double value) {
    return keep(name, at::full(sizes, value));
  }
  at::Tensor uniform(std::string const& name, std::vector<std::int64_t> const& sizes, double bound) {
    return drawn(name, sizes, [bound](Random& random) { return (2 * random.uniform() - 1) * bound; });
  }
  at::Tensor normal(std::string const& name, std::vector<std::int64_t> const& sizes) {
    return drawn(name, sizes, [](Random& random) { return random.normal(); });
  }
  Linear linear(std::string const& name, std::int64_t in, std::int64_t out) {
    double const bound = 1 / std::sqrt(static_cast<double>(in));
    at::Tensor weight = uniform(name + ".weight", {out, in}, bound);
    return {weight, uniform(name + ".bias", {out}, bound), std::nullopt};
  }
  LayerNorm norm(std::string const& name, std::int64_t width) {
    at::Tensor scale = constant(name + ".weight", {width}, 1);
    return {scale, constant(name + ".bias", {width}, 0)};
  }
  Layer layer(std::string const& name, std::int64_t in, std::int64_t out, std::int64_t embedding) {
    Linear const input = linear(name + ".input", in, out);
    Linear const condition = linear(name + ".condition", embedding, out);
    return {input, condition, norm(name + ".norm", out)};
  }

 private:
  at::Tensor keep(std::string const& name, at::Tensor tensor) {
    tensor.requires_grad_(true);
    named_.emplace_back(name, tensor);
    return tensor;
  }
  template <class Draw>
  at::Tensor drawn(std::string const& name, std::vector<std::int64_t> const& sizes, Draw const& draw) {
    constexpr std::uint32_t scdg = 1;  // apart from the foundation's streams of the same purpose
    Random random(seed_, purpose::weights, named_.size(), scdg);
    at::Tensor tensor = at::empty(sizes, at::kFloat);
    float* values = tensor.data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(draw(random));
    return keep(name, tensor);
  }

  std::uint64_t seed_;
  std::vector<std::pair<std::string, at::Tensor>>& named_;
};

}  // namespace

struct Scdg::Weights {
  Linear time_in, time_out;
  at::Tensor class_table;  // [classes, hidden[0]]
  std::vector<Layer> down, up;
  Linear head_in, head_out;
  LayerNorm head_norm;
  std::vector<std::pair<std::string, at::Tensor>> named;
};

Scdg::Scdg(ScdgShape shape, std::uint64_t seed) : shape_(std::move(shape)), weights_(std::make_shared<Weights>()) {
  if (shape_.hidden.size() < 2) fail(ExitCode::usage, "the denoiser has {} hidden layers (it needs two: one is wide, one is the middle)", shape_.hidden.size());
  if (shape_.hidden[0] % 2) fail(ExitCode::usage, "the denoiser's first hidden width {} is odd (half of it holds sines, half cosines)", shape_.hidden[0]);
  if (shape_.latent_scale == 0) shape_.latent_scale = std::sqrt(static_cast<double>(shape_.latent));
  auto const& hidden = shape_.hidden;
  std::int64_t const embedding = hidden[0];
  Weights& w = *weights_;
  Initialiser init(seed, w.named);
  w.time_in = init.linear("time.in", embedding, embedding);
  w.time_out = init.linear("time.out", embedding, embedding);
  w.class_table = init.normal("classes", {shape_.classes, embedding});
  for (std::size_t i = 0; i < hidden.size(); ++i)
    w.down.push_back(init.layer(fmt::format("down.{}", i), i ? hidden[i - 1] : shape_.latent, hidden[i], embedding));
  for (std::size_t i = 0; i + 1 < hidden.size(); ++i)
    w.up.push_back(init.layer(fmt::format("up.{}", i), hidden[hidden.size() - 1 - i], hidden[hidden.size() - 2 - i], embedding));
  std::int64_t const wide = 2 * hidden[1];
  w.head_in = init.linear("head.in", hidden[0], wide);
  w.head_norm = init.norm("head.norm", wide);
  w.head_out = init.linear("head.out", wide, shape_.latent);
}

std::vector<at::Tensor> Scdg::parameters() const {
  std::vector<at::Tensor> all;
  for (auto const& [name, tensor] : weights_->named) all.push_back(tensor);
  return all;
}

void Scdg::freeze() {
  Weights& w = *weights_;
  for (auto& [name, tensor] : w.named) tensor.requires_grad_(false);
  auto pack = [](Linear& linear) { linear.frozen.emplace(linear.weight.t(), linear.bias); };
  for (auto* layers : {&w.down, &w.up})
    for (auto& layer : *layers) pack(layer.input);
  pack(w.head_in);
  pack(w.head_out);
}

std::vector<at::Tensor> Scdg::condition(at::Tensor const& t, at::Tensor const& classes) const {
  Weights const& w = *weights_;
  std::int64_t const half = shape_.hidden[0] / 2;
  at::Tensor const frequencies = at::exp(at::arange(half, t.options().dtype(at::kFloat)) * (-std::log(1e4) / static_cast<double>(half)));
  at::Tensor const angles = t.to(at::kFloat).unsqueeze(1) * frequencies;  // [n, half]
  at::Tensor const time = w.time_out(at::silu(w.time_in(at::cat({at::cos(angles), at::sin(angles)}, 1))));
  at::Tensor const embedding = at::silu(time + at::embedding(w.class_table, classes));  // [n, hidden[0]]
  std::vector<at::Tensor> conditions;
  for (auto const& layer : w.down) conditions.push_back(layer.condition(embedding));
  for (auto const& layer : w.up) conditions.push_back(layer.condition(embedding));
  return conditions;
}

at::Tensor Scdg::denoise(at::Tensor const& latents, std::vector<at::Tensor> const& conditions) const {
  Weights const& w = *weights_;
  at::Tensor x = latents;
  std::vector<at::Tensor> passed;
  std::size_t i = 0;
  for (auto const& layer : w.down) passed.push_back(x = layer(x, conditions[i++]));
  passed.pop_back();  // the middle is not added to itself
  for (auto const& layer : w.up) {
    x = layer(x, conditions[i++]) + passed.back();
    passed.pop_back();
  }
  return w.head_out(at::silu(w.head_norm(w.head_in(x))));
}

at::Tensor Scdg::denoise(at::Tensor const& latents, at::Tensor const& t, at::Tensor const& classes) const {
  return denoise(latents, condition(t, classes));
}

void Scdg::save(std::filesystem::path const& folder, std::vector<std::string> const& class_names, std::string const& encoder, std::string const& atlas) const {
  std::filesystem::path const pending = folder.string() + ".pending";
  std::error_code error;
  std::filesystem::remove_all(pending, error);
  std::filesystem::create_directories(pending, error);
  if (error) fail(ExitCode::cannot_write, "cannot make folder '{}' ({})", pending.string(), error.message());
  Safetensors content;
  for (auto const& [name, tensor] : weights_->named) content.tensors[name] = tensor.detach().contiguous();
  write_safetensors(pending / "scdg.safetensors", content);
  nlohmann::json const config{{"model", "scdg"},
                              {"latent", shape_.latent},
                              {"hidden", shape_.hidden},
                              {"latent_scale", shape_.latent_scale},
                              {"schedule", {{"name", "linear"}, {"steps", 1000}, {"beta_min", 1e-4}, {"beta_max", 0.1}}},
                              {"prediction", "x0"},
                              {"classes", class_names},
                              {"encoder", encoder},
                              {"atlas", atlas}};
  write_text(pending / "config.json", json_text(config, 1) + "\n");
  publish(pending, folder);
}

Scdg Scdg::load(std::filesystem::path const& folder) {
  auto const config_file = folder / "config.json";
  require_input(config_file, "generator");
  std::ifstream stream(config_file);
  ScdgShape shape;
  std::vector<std::string> class_names;
  std::string encoder, atlas;
  try {
    auto const config = nlohmann::json::parse(stream);
    if (config.at("model") != "scdg") fail(ExitCode::bad_input, "'{}' holds a model '{}' (scdg is needed)", config_file.string(), config.at("model").dump());
    shape.latent = config.at("latent").get<std::int64_t>();
    shape.hidden = config.at("hidden").get<std::vector<std::int64_t>>();
    shape.latent_scale = config.at("latent_scale").get<double>();
    class_names = config.at("classes").get<std::vector<std::string>>();
    encoder = config.at("encoder").get<std::string>();
    atlas = config.at("atlas").get<std::string>();
  } catch (nlohmann::json::exception const& fault) {
    fail(ExitCode::bad_input, "'{}' is no description of a generator ({}) train it again", config_file.string(), fault.what());
  }
  // A hostile file must not ask for any amount of memory: two neighbouring widths have a matrix in the weights' file.
  auto const weights_file = folder / "scdg.safetensors";
  require_input(weights_file, "weights of the generator");
  auto const values = static_cast<std::int64_t>(std::filesystem::file_size(weights_file) / sizeof(float));
  constexpr std::int64_t widest = 1 << 16;
  bool sane = shape.latent > 0 && shape.latent <= widest && !class_names.empty() && shape.latent_scale > 0 && shape.hidden.size() >= 2 && shape.hidden.size() <= 64;
  std::int64_t before = shape.latent;
  for (std::int64_t const width : shape.hidden) {
    sane = sane && width > 0 && width <= widest && width % 2 == 0 && before * width <= values;
    before = width;
  }
  if (!sane) fail(ExitCode::bad_input, "'{}' has sizes that cannot be (a width, the classes or the scale) train it again", config_file.string());
  shape.classes = static_cast<std::int64_t>(class_names.size());

  auto const content = read_safetensors(weights_file);
  Scdg model(std::move(shape), 0);
  model.class_names_ = std::move(class_names);
  model.encoder_ = std::move(encoder);
  model.atlas_ = std::move(atlas);
  at::NoGradGuard no_grad;
  for (auto& [name, tensor] : model.weights_->named) {
    auto const found = content.tensors.find(name);
    if (found == content.tensors.end()) fail(ExitCode::bad_input, "'{}' has no tensor '{}' (config.json asks for it)", weights_file.string(), name);
    if (found->second.sizes() != tensor.sizes() || found->second.scalar_type() != at::kFloat)
      fail(ExitCode::bad_input, "tensor '{}' of '{}' has another shape or type than config.json says", name, weights_file.string());
    tensor.copy_(found->second);
  }
  return model;
}

}  // namespace retort
