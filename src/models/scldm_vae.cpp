#include "retort/models/scldm_vae.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "retort/kernels/gene_decoder.hpp"
#include "retort/kernels/token_attention.hpp"
#include "retort/layers/layers.hpp"
#include "retort/layers/negative_binomial.hpp"
#include "retort/layers/normal_tensor.hpp"
#include "retort/models/cell_tokens.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr double epsilon = 1e-8;  // of every LayerNorm

// x + attention(norm1 x), then x + mlp(norm2 x).
struct Block {
  LayerNorm norm1, norm2;
  SelfAttention attention;
  SwiGlu mlp;
  at::Tensor operator()(at::Tensor const& x) const {
    at::Tensor const mixed = x + attention(norm1(x));
    return mixed + mlp(norm2(mixed));
  }
};

Block make_block(Parameters& all, std::string const& name, std::int64_t width, std::int64_t heads) {
  LayerNorm const norm1 = make_layer_norm(all, name + ".norm1", width, epsilon),
                  norm2 = make_layer_norm(all, name + ".norm2", width, epsilon);
  Linear const qkv = make_linear(all, name + ".attn.qkv", width, 3 * width, Bias::none);
  return {.norm1 = norm1,
          .norm2 = norm2,
          .attention = {qkv, make_linear(all, name + ".attn.out", width, width, Bias::none), heads},
          .mlp = make_swiglu(all, name + ".mlp", width)};
}

// Multi-head cross-attention block: queries read from tokens. The reader's queries are the inducing points, the
// writer's the genes.
struct CrossBlock {
  LayerNorm norm_q, norm_x, norm2;
  Linear q, kv, out;
  SwiGlu mlp;
};

CrossBlock make_cross_block(Parameters& all, std::string const& name, std::int64_t width) {
  LayerNorm const norm_q = make_layer_norm(all, name + ".norm_q", width, epsilon),
                  norm_x = make_layer_norm(all, name + ".norm_x", width, epsilon),
                  norm2 = make_layer_norm(all, name + ".norm2", width, epsilon);
  Linear const q = make_linear(all, name + ".q", width, width, Bias::none),
               kv = make_linear(all, name + ".kv", width, 2 * width, Bias::none);
  return {.norm_q = norm_q,
          .norm_x = norm_x,
          .norm2 = norm2,
          .q = q,
          .kv = kv,
          .out = make_linear(all, name + ".out", width, width, Bias::none),
          .mlp = make_swiglu(all, name + ".mlp", width)};
}

}  // namespace

struct ScldmVae::Weights {
  explicit Weights(std::uint64_t seed) : all(seed, network::scldm_vae) {}

  Parameters all;
  at::Tensor genes;     // [genes + 1, width]; row 0 is the pad's
  at::Tensor fusion;    // [width, 2 width], or none
  at::Tensor inducing;  // [tokens, width]
  CrossBlock read, write;
  std::vector<Block> encoder, decoder;
  Linear to_latent, from_latent, logit;
  LayerNorm head_norm;   // Gaussian
  at::Tensor log_theta;  // [genes + 1, 1], or none
};

ScldmVae::ScldmVae(ScldmVaeShape const& shape, std::uint64_t seed)
    : shape_(shape), weights_(std::make_shared<Weights>(seed)) {
  auto const n = shape.width;
  if (shape.genes < 1 || n < 1 || shape.tokens < 1 || shape.latent < 2 || shape.blocks < 0 || shape.length < 0)
    fail(ExitCode::usage,
         "the autoencoder has a size that is not positive (vae.width, tokens, latent, blocks or length)");
  if (shape.heads < 1 || shape.cross_heads < 1 || n % shape.heads || n % shape.cross_heads)
    fail(ExitCode::usage, "vae.width {} cannot be shared by {} and {} heads", n, shape.heads, shape.cross_heads);
  Weights& w = *weights_;
  w.genes = w.all.normal("gene.weight", {shape.genes + 1, n});
  if (shape.fusion == Fusion::concat)
    w.fusion = w.all.uniform("fuse.weight", {n, 2 * n}, 1 / std::sqrt(2.0 * static_cast<double>(n)));
  w.inducing = w.all.normal("inducing", {shape.tokens, n});
  w.read = make_cross_block(w.all, "read", n);
  for (std::int64_t i = 0; i < shape.blocks; ++i)
    w.encoder.push_back(make_block(w.all, fmt::format("encoder.{}", i), n, shape.heads));
  w.to_latent = make_linear(w.all, "to_latent", n, shape.latent * (shape.posterior ? 2 : 1), Bias::none);
  w.from_latent = make_linear(w.all, "from_latent", shape.latent, n, Bias::none);
  for (std::int64_t i = 0; i < shape.blocks; ++i)
    w.decoder.push_back(make_block(w.all, fmt::format("decoder.{}", i), n, shape.heads));
  w.write = make_cross_block(w.all, "write", n);
  if (shape.likelihood == CellLikelihood::gaussian) w.head_norm = make_layer_norm(w.all, "head_norm", n, epsilon);
  w.logit = make_linear(w.all, "logit", n, shape.likelihood == CellLikelihood::own_dispersion ? 2 : 1);
  if (shape.likelihood == CellLikelihood::shared_dispersion)
    w.log_theta = w.all.constant("log_theta.weight", {shape.genes + 1, 1}, 1);
}

Parameters const& ScldmVae::parameters() const { return weights_->all; }

at::Tensor ScldmVae::gene_vectors() const { return weights_->genes.detach().narrow(0, 1, shape_.genes); }

at::Tensor ScldmVae::encode(CsrBlock const& counts) const {
  Weights const& w = *weights_;
  auto const n = shape_.width, heads = shape_.cross_heads;
  auto const tokens = cell_tokens(counts, shape_);

  // Keys and values of all genes at once. A token is the LayerNorm of (gene's row + slope * log1p(count)), which is
  // linear in both but for its scale; what LayerNorm adds at the end is the same for all tokens: it cancels in the
  // softmax, and is added to the values below.
  bool const log1p = shape_.fusion == Fusion::log1p;
  at::Tensor rows, slope = at::zeros({1, n}), scales, slopes;
  if (log1p) {
    rows = at::cat({at::zeros({1, n}), at::layer_norm(w.genes.narrow(0, 1, shape_.genes), {n}, {}, {},
                                                      epsilon)});  // a pad is the zero vector
  } else {
    auto const centred = [](at::Tensor const& x) { return x - x.mean(-1, true); };
    rows = centred(at::linear(w.genes, w.fusion.narrow(1, 0, n)).to(at::kFloat));  // [genes + 1, n]
    slope = centred(w.fusion.narrow(1, n, n).sum(1, false).unsqueeze(0));          // [1, n]
    auto const at_token = [&](at::Tensor const& of_gene) { return of_gene.index_select(0, tokens.rows); };
    at::Tensor const variance = at_token(rows.square().mean(1)) +
                                2 * tokens.log_counts * at_token((rows * slope).mean(1)) +
                                tokens.log_counts.square() * slope.square().mean();
    scales = (variance + epsilon).rsqrt();  // [tokens]
    slopes = tokens.log_counts * scales;
  }
  at::Tensor const kv =
      w.read.kv(at::cat({rows * w.read.norm_x.scale, slope * w.read.norm_x.scale, w.read.norm_x.shift.unsqueeze(0)}))
          .to(at::kFloat);  // [genes + 3, 2n]
  at::Tensor const keys = kv.narrow(1, 0, n).unflatten(1, {heads, -1}),
                   values = kv.narrow(1, n, n).unflatten(1, {heads, -1});  // [genes + 3, heads, n / heads]
  at::Tensor const queries = w.read.q(w.read.norm_q(w.inducing)).unflatten(1, {heads, -1}) *
                             (1 / std::sqrt(static_cast<double>(n / heads)));  // [tokens, heads, n / heads]
  at::Tensor const logits = at::bmm(keys.transpose(0, 1), queries.permute({1, 2, 0}))
                                .transpose(0, 1)
                                .to(at::kFloat);  // [genes + 3, heads, tokens]
  auto const table = [&](at::Tensor const& of_all) { return of_all.narrow(0, 0, shape_.genes + 1); };
  auto const row = [&](at::Tensor const& of_all, std::int64_t i) { return of_all.select(0, shape_.genes + i); };
  at::Tensor const read = token_attention(tokens.cells, table(logits), table(values), scales, slopes,
                                          slopes.defined() ? row(logits, 1) : at::Tensor(),
                                          slopes.defined() ? row(values, 1) : at::Tensor());

  at::Tensor x = w.inducing + w.read.out(read + row(values, 2).flatten());  // [n, tokens, width]
  x = x + w.read.mlp(w.read.norm2(x));
  for (auto const& block : w.encoder) x = block(x);
  at::Tensor const latents = w.to_latent(x).to(at::kFloat);
  return shape_.posterior ? latents : at::layer_norm(latents, {shape_.latent}, {}, {}, epsilon);
}

at::Tensor ScldmVae::latents(at::Tensor const& encoded, at::Tensor const& noise) const {
  if (!shape_.posterior) return encoded;
  auto const halves = encoded.chunk(2, -1);
  return halves[0] + (halves[1] / 2).exp() * noise;
}

at::Tensor ScldmVae::shard_loss(std::shared_ptr<CsrBlock const> const& counts, VaeDraw const& draw,
                                at::Tensor const& statistics) {
  Autocast const products(draw.precision);
  auto const encoded = encode(*counts);
  at::Tensor kl, noise;
  if (shape_.posterior) {
    auto random = draw.random;
    noise = normal_tensor({counts->rows(), shape_.tokens, shape_.latent}, random);
    auto const halves = encoded.chunk(2, -1);
    kl = 0.5 * (halves[0].square() + halves[1].exp() - 1 - halves[1]).sum({1, 2}).mean();
  }
  auto const error = reconstruction_error(counts, decode(latents(encoded, noise))).mean();
  auto const loss = kl.defined() ? error + draw.kl_weight * kl : error;
  at::NoGradGuard const no_graph;
  statistics[0].add_(loss);
  statistics[1].add_(error);
  if (kl.defined()) statistics[2].add_(kl);
  return loss;
}

at::Tensor ScldmVae::embed(CsrBlock const& counts) const {
  c10::InferenceMode const no_graph;
  auto const encoded = encode(counts);
  return (shape_.posterior ? encoded.narrow(2, 0, shape_.latent) : encoded).reshape({counts.rows(), width()});
}

GenePrediction ScldmVae::decode(at::Tensor const& of_cells) const {
  Weights const& w = *weights_;
  auto const cells = of_cells.size(0), heads = shape_.cross_heads;
  at::Tensor const latents = of_cells.view({cells, shape_.tokens, shape_.latent});
  at::Tensor x = w.from_latent(shape_.posterior ? latents : at::layer_norm(latents, {shape_.latent}, {}, {}, epsilon));
  for (auto const& block : w.decoder) x = block(x);
  auto const kv = w.write.kv(w.write.norm_x(x)).to(at::kFloat).chunk(2, -1);
  bool const gaussian = shape_.likelihood == CellLikelihood::gaussian;

  at::Tensor const genes = w.genes.narrow(0, 1, shape_.genes);
  at::Tensor const queries = w.write.q(w.write.norm_q(genes)).to(at::kFloat);
  GeneDecoderWeights const head{.out = w.write.out.weight,
                                .norm_scale = w.write.norm2.scale,
                                .norm_shift = w.write.norm2.shift,
                                .w1 = w.write.mlp.w1.weight,
                                .w2 = w.write.mlp.w2.weight,
                                .w3 = w.write.mlp.w3.weight,
                                .head_scale = w.head_norm.scale,
                                .head_shift = w.head_norm.shift,
                                .score = w.logit.weight,
                                .score_bias = w.logit.bias};
  at::Tensor const scores = gene_decoder(queries, genes, kv[0], kv[1], heads, epsilon, head);  // [1 or 2, cells, genes]
  if (shape_.likelihood == CellLikelihood::own_dispersion) return {scores[0], scores[1]};
  return {scores[0], gaussian ? at::Tensor() : w.log_theta.narrow(0, 1, shape_.genes).squeeze(1)};
}

at::Tensor ScldmVae::reconstruction_error(std::shared_ptr<CsrBlock const> const& counts,
                                          GenePrediction const& decoded) const {
  if (shape_.likelihood != CellLikelihood::gaussian)
    return negative_binomial_loss(counts, decoded.logits, decoded.log_theta);
  CsrBlock logs = *counts;
  log_normalise(logs);
  auto const there = nonzero_places(logs);  // [nonzeros]: cell * genes + gene
  at::Tensor const seen = at::from_blob(logs.values.data(), {logs.nonzeros()}, at::kFloat).clone();
  at::Tensor const corrections =
      seen * (seen - 2 * decoded.logits.flatten().index_select(0, there));  // (y - m)^2 - m^2
  return decoded.logits.square().sum(1).index_add(0, there.div(logs.genes, "floor"), corrections);
}

}  // namespace retort
