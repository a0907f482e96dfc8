#include "retort/models/scvi_vae.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <optional>

#include "retort/kernels/sparse_linear.hpp"
#include "retort/layers/layers.hpp"
#include "retort/layers/negative_binomial.hpp"
#include "retort/layers/normal_tensor.hpp"
#include "retort/models/weights_folder.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr double norm_epsilon = 1e-3, norm_momentum = 0.01, least_variance = 1e-4;

struct BatchNorm {
  at::Tensor scale, shift;  // [width]
  at::Tensor running_mean,
      running_variance;  // [width]; at a mean of 0 and a variance of 1 - epsilon they change nothing
};

BatchNorm make_batch_norm(Parameters& all, std::string const& name, std::int64_t width) {
  auto const scale = all.constant(name + ".weight", {width}, 1);
  return {scale, all.constant(name + ".bias", {width}, 0), at::zeros({width}), at::full({width}, 1 - norm_epsilon)};
}

CsrBlock log_counts(CsrBlock const& counts) {
  CsrBlock logs = counts;
  for (float& value : logs.values) value = std::log1p(value);
  return logs;
}

// Zeros `rate` of the values and scales the others up.
at::Tensor drop(at::Tensor const& x, double rate, Random& random) {
  if (rate == 0) return x;
  auto const keep = at::empty(x.sizes());
  auto const scale = static_cast<float>(1 / (1 - rate));
  auto const bound = static_cast<std::uint32_t>(rate * 4294967296.0);
  for (std::int64_t i = 0; i < keep.numel(); ++i) keep.data_ptr<float>()[i] = random.bits() < bound ? 0 : scale;
  return x * keep;
}

}  // namespace

struct ScviVae::Weights {
  explicit Weights(std::uint64_t seed) : all(seed, network::scvi_vae) {}

  Parameters all;
  at::Tensor first_weight, first_bias;  // [genes, hidden]: a row a gene, for the sparse product
  std::vector<Linear> encoder, decoder;
  std::vector<BatchNorm> encoder_norms, decoder_norms;
  Linear mean, log_variance, scores;
  at::Tensor log_theta;  // [genes]

  std::vector<BatchNorm*> norms() {
    std::vector<BatchNorm*> both;
    for (auto* part : {&encoder_norms, &decoder_norms})
      for (auto& norm : *part) both.push_back(&norm);
    return both;
  }
};

ScviVae::ScviVae(ScviShape const& shape, std::uint64_t seed)
    : shape_(shape), weights_(std::make_shared<Weights>(seed)) {
  if (shape.genes < 1 || shape.hidden < 1 || shape.latent < 1 || shape.layers < 1)
    fail(ExitCode::usage,
         "the autoencoder has a size that is not positive (vae.scvi_hidden, scvi_latent or scvi_layers)");
  if (!(shape.dropout >= 0 && shape.dropout < 1))
    fail(ExitCode::usage, "vae.scvi_dropout is {} (it lies in [0, 1))", shape.dropout);
  Weights& w = *weights_;
  double const bound = 1 / std::sqrt(static_cast<double>(shape.genes));
  w.first_weight = w.all.uniform("encoder.0.weight", {shape.genes, shape.hidden}, bound);
  w.first_bias = w.all.uniform("encoder.0.bias", {shape.hidden}, bound);
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    if (i > 0) w.encoder.push_back(make_linear(w.all, fmt::format("encoder.{}", i), shape.hidden, shape.hidden));
    w.encoder_norms.push_back(make_batch_norm(w.all, fmt::format("encoder_norm.{}", i), shape.hidden));
  }
  w.mean = make_linear(w.all, "mean", shape.hidden, shape.latent);
  w.log_variance = make_linear(w.all, "log_variance", shape.hidden, shape.latent);
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    w.decoder.push_back(
        make_linear(w.all, fmt::format("decoder.{}", i), i ? shape.hidden : shape.latent, shape.hidden));
    w.decoder_norms.push_back(make_batch_norm(w.all, fmt::format("decoder_norm.{}", i), shape.hidden));
  }
  w.scores = make_linear(w.all, "scores", shape.hidden, shape.genes);
  w.log_theta = w.all.normal("log_theta", {shape.genes});
}

Parameters const& ScviVae::parameters() const { return weights_->all; }

std::int64_t ScviVae::statistics() const { return 3 + 4 * shape_.layers * shape_.hidden; }

at::Tensor ScviVae::shard_loss(std::shared_ptr<CsrBlock const> const& counts, VaeDraw const& draw,
                               at::Tensor const& statistics) {
  Autocast const products(draw.precision);
  if (counts->rows() < 2) fail(ExitCode::usage, "a shard has one cell (BatchNorm needs two). Raise vae.batch");
  Weights& w = *weights_;
  auto random = draw.random;
  std::int64_t place = 3;
  auto const normed = [&](at::Tensor const& x, BatchNorm const& norm) {
    auto const [y, mean, inverse] =
        at::native_batch_norm(x.to(at::kFloat), norm.scale, norm.shift, {}, {}, true, 0, norm_epsilon);
    at::Tensor const activated = at::relu(y);
    at::NoGradGuard const no_graph;  // from here: what comes after is only counted
    statistics.narrow(0, place, shape_.hidden).add_(mean);
    statistics.narrow(0, place + shape_.hidden, shape_.hidden)
        .add_((inverse.square().reciprocal() - norm_epsilon) *
              (static_cast<double>(x.size(0)) / static_cast<double>(x.size(0) - 1)));
    place += 2 * shape_.hidden;
    return activated;
  };
  at::Tensor x = drop(normed(sparse_linear(log_counts(*counts), w.first_weight, w.first_bias, w.first_weight.grad()),
                             w.encoder_norms[0]),
                      shape_.dropout, random);
  for (std::size_t i = 0; i < w.encoder.size(); ++i)
    x = drop(normed(w.encoder[i](x), w.encoder_norms[i + 1]), shape_.dropout, random);
  at::Tensor const mean = w.mean(x).to(at::kFloat), variance = w.log_variance(x).to(at::kFloat).exp() + least_variance;
  x = mean + variance.sqrt() * normal_tensor(mean.sizes(), random);
  for (std::size_t i = 0; i < w.decoder.size(); ++i) x = normed(w.decoder[i](x), w.decoder_norms[i]);
  auto const error = reconstruction_error(counts, {w.scores(x).to(at::kFloat), w.log_theta}).mean();
  auto const kl = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(1).mean();
  auto const loss = error + draw.kl_weight * kl;
  at::NoGradGuard const no_graph;
  statistics[0].add_(loss);
  statistics[1].add_(error);
  statistics[2].add_(kl);
  return loss;
}

void ScviVae::update_running(at::Tensor const& summed, int shards) {
  at::NoGradGuard const no_graph;
  std::int64_t place = 3;
  for (auto* norm : weights_->norms())
    for (auto* running : {&norm->running_mean, &norm->running_variance}) {
      running->lerp_(summed.narrow(0, place, shape_.hidden) / static_cast<double>(shards), norm_momentum);
      place += shape_.hidden;
    }
}

std::map<std::string, at::Tensor> ScviVae::running() const {
  std::map<std::string, at::Tensor> all;
  std::size_t i = 0;
  for (auto* norm : weights_->norms()) {
    all[fmt::format("running_mean.{}", i)] = norm->running_mean;
    all[fmt::format("running_variance.{}", i++)] = norm->running_variance;
  }
  return all;
}

void ScviVae::finish() {
  at::NoGradGuard const no_graph;
  for (auto* norm : weights_->norms()) {
    auto const scale = norm->scale * (norm->running_variance + norm_epsilon).rsqrt();
    norm->shift.sub_(norm->running_mean * scale);
    norm->scale.copy_(scale);
    norm->running_mean.zero_();
    norm->running_variance.fill_(1 - norm_epsilon);
  }
}

namespace {

at::Tensor inferred(at::Tensor const& x, BatchNorm const& norm) {
  return at::relu(at::batch_norm(x, norm.scale, norm.shift, norm.running_mean, norm.running_variance, false, 0,
                                 norm_epsilon, false));
}

}  // namespace

at::Tensor ScviVae::embed(CsrBlock const& counts) const {
  c10::InferenceMode const no_graph;
  Weights const& w = *weights_;
  at::Tensor x = inferred(sparse_linear(log_counts(counts), w.first_weight, w.first_bias), w.encoder_norms[0]);
  for (std::size_t i = 0; i < w.encoder.size(); ++i) x = inferred(w.encoder[i](x), w.encoder_norms[i + 1]);
  return w.mean(x);
}

GenePrediction ScviVae::decode(at::Tensor const& latents) const {
  Weights const& w = *weights_;
  at::Tensor x = latents;
  for (std::size_t i = 0; i < w.decoder.size(); ++i) x = inferred(w.decoder[i](x), w.decoder_norms[i]);
  return {w.scores(x), w.log_theta};
}

at::Tensor ScviVae::reconstruction_error(std::shared_ptr<CsrBlock const> const& counts,
                                         GenePrediction const& decoded) const {
  return negative_binomial_loss(counts, decoded.logits, decoded.log_theta);
}

void ScviVae::save(std::filesystem::path const& folder, VaeOrigin const& from) const {
  save_network(folder, parameters(),
               {{"model", "scvi_vae"},
                {"genes", from.gene_names},
                {"atlas", from.atlas},
                {"hidden", shape_.hidden},
                {"latent", shape_.latent},
                {"layers", shape_.layers},
                {"dropout", shape_.dropout}});
}

std::unique_ptr<ScviVae> ScviVae::load(std::filesystem::path const& folder) {
  ScviShape shape;
  VaeOrigin from;
  read_network_config(folder, "scvi_vae", "autoencoder", [&](nlohmann::json const& config) {
    from = {config.at("genes").get<std::vector<std::string>>(), config.at("atlas").get<std::string>()};
    shape = {std::ssize(from.gene_names), config.at("hidden"), config.at("latent"), config.at("layers"),
             config.at("dropout")};
  });
  constexpr std::int64_t widest = 1 << 16, deepest = 64;
  auto const numbers = numbers_in(folder, "scvi_vae");
  bool const sane = shape.genes > 0 && shape.hidden > 0 && shape.hidden <= widest && shape.latent > 0 &&
                    shape.latent <= widest && shape.layers > 0 && shape.layers <= deepest && shape.dropout >= 0 &&
                    shape.dropout < 1 && shape.genes * shape.hidden <= numbers &&
                    shape.hidden * shape.latent <= numbers &&
                    (shape.layers - 1) * shape.hidden * shape.hidden <= numbers;
  if (!sane)
    fail(ExitCode::bad_input,
         "'{}' describes another network than the weights beside it hold (a file was cut or replaced). Train it again",
         (folder / "config.json").string());
  auto vae = std::make_unique<ScviVae>(shape, 0);
  load_parameters(folder, "scvi_vae", vae->parameters());
  vae->origin = std::move(from);
  return vae;
}

}  // namespace retort
