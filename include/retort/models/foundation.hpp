// SCimilarity-shaped encoder and decoder (methods: 1.2): the feature extractor F and the decoder D of scDD.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "retort/cells/csr_block.hpp"
#include "retort/layers/precision.hpp"

namespace retort {

struct FoundationShape {
  std::int64_t genes = 0;
  std::vector<std::int64_t> hidden{1024, 1024, 1024};  // of the encoder; the decoder's are reversed
  std::int64_t latent = 128;
};

// One hidden layer: [Dropout] Linear, BatchNorm (eps 1e-5, momentum 0.1), PReLU with one slope.
struct HiddenLayer {
  at::Tensor weight;  // [in, out] in the encoder's first layer (a row a gene, for the sparse product), else [out, in]
  at::Tensor bias, scale, shift, slope;       // [out], [out], [out], [1]
  at::Tensor running_mean, running_variance;  // [out]; not parameters

  std::int64_t width() const { return bias.size(0); }
};

inline constexpr double batch_norm_epsilon = 1e-5, batch_norm_momentum = 0.1;

// Tensors by SCimilarity's names (methods 1.2.2): network.0.1.weight and so on, [out, in].
using StateDict = std::map<std::string, at::Tensor>;

// Frozen or in training, float32; inference may also multiply in bfloat16, which rounds weights, and activations
// between layers, to eight bits. The forward pass of training is foundation_training.hpp.
class Foundation {
 public:
  // Weights and biases U(-1/sqrt(in), 1/sqrt(in)) as PyTorch's Linear has by default, drawn from `seed`; on the CPU.
  // Throws Failure(usage) when a size is not positive.
  Foundation(FoundationShape shape, std::uint64_t seed);
  // encoder.safetensors, decoder.safetensors, config.json; frozen. Not collective. Throws Failure(missing_input,
  // bad_input).
  static Foundation load(std::filesystem::path const& folder);
  // From SCimilarity's state dicts; frozen. `source` is for messages. Throws Failure(bad_input) when a tensor is
  // missing, has another shape than its neighbours ask for, or is not known.
  static Foundation from_state(StateDict const& encoder, StateDict const& decoder, std::vector<std::string> gene_names,
                               std::string const& source);
  // Writes the folder aside and publishes it; config.json holds the shape, the gene names and the fields of `more`.
  // Not collective: one rank calls it. Throws Failure(cannot_write).
  void save(std::filesystem::path const& folder, std::vector<std::string> const& gene_names,
            nlohmann::json const& more) const;
  StateDict encoder_state() const;
  StateDict decoder_state() const;

  FoundationShape const& shape() const { return shape_; }
  // As stored with the weights; empty for a new model.
  std::vector<std::string> const& gene_names() const { return gene_names_; }
  // Hash of all weights and running statistics: names the encoder in feature files.
  std::string weights_hash() const;

  // In training order, encoder first; what the arena holds.
  std::vector<at::Tensor> parameters() const;
  // Moves weights to a device; before the arena is made.
  void to(at::Device device);
  // Ends training: folds BatchNorm into the layers for inference and drops requires_grad; for bfloat16 also rounds the
  // encoder's weights. encode() and decode() call it. Throws Failure(usage) where the first layer cannot be kept as
  // bfloat16.
  void freeze(Precision precision = Precision::float32);

  // Inference, BatchNorm by running statistics, no dropout. Log-normalised cells -> unit rows, [rows, latent]. Rows are
  // worked on in blocks of 256 counted from the first: give blocks that begin at multiples of 256, and the bits of a
  // row do not depend on how many rows come with it. Throws Failure(failed) when the number of genes differs.
  at::Tensor encode(CsrBlock const& cells, Precision precision = Precision::float32);
  // The same for dense cells [n, genes], differentiable in `cells`.
  at::Tensor encode(at::Tensor const& cells);
  // [n, latent] -> [n, genes], no output activation, differentiable in `latents`.
  at::Tensor decode(at::Tensor const& latents);

  std::vector<HiddenLayer> encoder_layers, decoder_layers;
  at::Tensor encoder_weight, encoder_bias;  // [latent, hidden], [latent]
  at::Tensor decoder_weight, decoder_bias;  // [genes, hidden], [genes]
  std::int64_t trained_steps = 0;           // BatchNorm's num_batches_tracked

 private:
  Foundation() = default;
  std::vector<at::Tensor*> tensors();

  FoundationShape shape_;
  std::vector<std::string> gene_names_;
  struct Folded;
  std::shared_ptr<Folded> folded_;
};

// The block of rows in which features are computed.
inline constexpr std::int64_t rows_of_an_inference_block = 256;

}  // namespace retort
