#include "retort/kernels/gene_decoder.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

#include "gene_decoder_loops.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

// The order of the tensors that go in and are saved.
struct Place {
  enum : std::size_t { queries, genes, keys, values, out, scale, shift, gates, direct, last, bias };
};

// Turned copies of the matrices, and pointers to all.
struct Arrays {
  Arrays(std::vector<at::Tensor> const& in, bool head_norm) {
    auto const plain = [&in](std::size_t place) { return in[place].const_data_ptr<float>(); };
    auto const both = [&](std::size_t place) {
      turned.push_back(in[place].transpose(-1, -2).contiguous());
      return kernel::BothWays{plain(place), turned.back().const_data_ptr<float>()};
    };
    inputs = {plain(Place::queries), plain(Place::genes), both(Place::keys),   both(Place::values),
              both(Place::out),      plain(Place::scale), plain(Place::shift), both(Place::gates),
              both(Place::direct),   both(Place::last),   plain(Place::bias),  head_norm};
  }
  std::vector<at::Tensor> turned;
  kernel::GeneDecoderInputs inputs;
};

kernel::GeneDecoderSizes sizes_of(std::vector<at::Tensor> const& in, std::int64_t heads, double epsilon) {
  return {
      in[Place::keys].size(0), in[Place::genes].size(0),     in[Place::genes].size(1),  heads,
      in[Place::keys].size(1), in[Place::gates].size(0) / 2, in[Place::direct].size(0), static_cast<float>(epsilon)};
}

struct GeneDecoder : torch::autograd::Function<GeneDecoder> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::TensorList given, std::int64_t heads,
                            double epsilon, bool head_norm) {
    std::vector<at::Tensor> in;
    for (auto const& tensor : given) in.push_back(tensor.contiguous());
    auto const sizes = sizes_of(in, heads, epsilon);
    auto const scores = at::empty({sizes.scores, sizes.cells, sizes.genes});
    kernel::decode_genes(sizes, Arrays(in, head_norm).inputs, scores.data_ptr<float>());
    context->save_for_backward(in);
    context->saved_data["heads"] = heads;
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["head_norm"] = head_norm;
    return scores;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    auto const in = context->get_saved_variables();
    bool const head_norm = context->saved_data["head_norm"].toBool();
    auto const n = sizes_of(in, context->saved_data["heads"].toInt(), context->saved_data["epsilon"].toDouble());
    auto const by_scores = upstream[0].contiguous();
    auto const by_queries = at::empty({n.genes, n.width}), by_genes = at::empty({n.genes, n.width});
    auto const by_keys = at::zeros({n.cells, n.width, kernel::padded(n.tokens)}), by_values = at::zeros_like(by_keys);
    kernel::GeneDecoderSums const begin_of(n, head_norm);
    auto const sums = at::zeros({begin_of.end});
    kernel::propagate_genes(n, Arrays(in, head_norm).inputs, by_scores.const_data_ptr<float>(),
                            {by_queries.data_ptr<float>(), by_genes.data_ptr<float>(), by_keys.data_ptr<float>(),
                             by_values.data_ptr<float>(), sums.data_ptr<float>()});
    auto const matrix = [&](std::int64_t begin, std::int64_t rows) {
      return sums.narrow(0, begin, rows * kernel::padded(n.width)).view({rows, -1}).narrow(1, 0, n.width);
    };
    auto const lanes = [&](std::int64_t begin, at::IntArrayRef shape) {
      auto const rows = c10::multiply_integers(shape);
      return sums.narrow(0, begin, rows * kernel::widest_vector).view({rows, kernel::widest_vector}).sum(1).view(shape);
    };
    auto const of_tokens = [&](at::Tensor const& turned) { return turned.narrow(2, 0, n.tokens).transpose(1, 2); };
    return {by_queries,
            by_genes,
            of_tokens(by_keys),
            of_tokens(by_values),
            matrix(begin_of.out, n.width),
            lanes(begin_of.scale, {n.width}),
            lanes(begin_of.shift, {n.width}),
            matrix(begin_of.gates, 2 * n.hidden),
            lanes(begin_of.direct, {n.scores, n.width}),
            head_norm ? matrix(begin_of.down, n.hidden).t() : lanes(begin_of.through, {n.scores, n.hidden}),
            by_scores.sum({1, 2}),
            at::Tensor(),
            at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor gene_decoder(at::Tensor const& queries, at::Tensor const& genes, at::Tensor const& keys,
                        at::Tensor const& values, std::int64_t heads, double epsilon,
                        GeneDecoderWeights const& weights) {
  bool const matrices = genes.dim() == 2 && keys.dim() == 3 && weights.w1.dim() == 2 && weights.score.dim() == 2;
  auto const width = matrices ? genes.size(1) : 0, hidden = matrices ? weights.w1.size(0) : 0,
             scores = matrices ? weights.score.size(0) : 0;
  auto const is = [](at::Tensor const& tensor, at::IntArrayRef shape) {
    return tensor.defined() && tensor.sizes() == shape && tensor.scalar_type() == at::kFloat && tensor.is_cpu();
  };
  bool const head_norm = weights.head_scale.defined();
  bool const fits = matrices && heads > 0 && width > 0 && width % heads == 0 && keys.size(1) > 0 &&
                    is(queries, {genes.size(0), width}) && is(genes, queries.sizes()) &&
                    is(keys, {keys.size(0), keys.size(1), width}) && is(values, keys.sizes()) &&
                    is(weights.out, {width, width}) && is(weights.norm_scale, {width}) &&
                    is(weights.norm_shift, {width}) && is(weights.w1, {hidden, width}) &&
                    is(weights.w2, {hidden, width}) && is(weights.w3, {width, hidden}) &&
                    (!head_norm || (is(weights.head_scale, {width}) && is(weights.head_shift, {width}))) &&
                    is(weights.score, {scores, width}) && is(weights.score_bias, {scores});
  if (!fits) fail(ExitCode::failed, "gene_decoder: shapes disagree");
  c10::impl::ExcludeDispatchKeyGuard const no_autocast(c10::autocast_dispatch_keyset);
  // The head norm's scale and shift are part of the score layer; without that norm, w3 is.
  at::Tensor const direct = head_norm ? weights.score * weights.head_scale : weights.score,
                   last = head_norm ? weights.w3 : at::mm(weights.score, weights.w3);
  at::Tensor const bias =
      head_norm ? weights.score_bias + at::mv(weights.score, weights.head_shift) : weights.score_bias;
  std::vector<at::Tensor> const in{queries * (1 / std::sqrt(static_cast<double>(width / heads))),
                                   genes,
                                   keys,
                                   values,
                                   weights.out,
                                   weights.norm_scale,
                                   weights.norm_shift,
                                   at::cat({weights.w1, weights.w2}),
                                   direct,
                                   last,
                                   bias};
  return GeneDecoder::apply(at::TensorList(in), heads, epsilon, head_norm);
}

}  // namespace retort
