#include "retort/distill/encoder_matching.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <span>

#include "retort/distill/layer_gradients.hpp"
#include "retort/distill/real_features.hpp"
#include "retort/kernels/sparse_linear.hpp"
#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

constexpr std::int64_t block_cells = 1024;  // real cells that pass the encoder at once
constexpr double smallest_norm = 1e-12;     // as Foundation's unit rows

// From what the first layer's product gives, [n, hidden]; its input may be undefined where the caller has it in another
// form.
LayerPass pass_above(Foundation const& encoder, Head const& head, double feature_scale, at::Tensor const& cells,
                     at::Tensor const& first, at::Tensor const& labels) {
  LayerPass pass{{cells}, {}};
  std::vector<at::Tensor> slopes;  // of each hidden layer, from its product to its output
  at::Tensor value = first;
  for (std::size_t i = 0; i < encoder.encoder_layers.size(); ++i) {
    HiddenLayer const& layer = encoder.encoder_layers[i];
    if (i > 0) value = at::linear(pass.inputs.back(), layer.weight, layer.bias);
    at::Tensor const factor = layer.scale / (layer.running_variance + batch_norm_epsilon).sqrt();
    value = (value - layer.running_mean) * factor + layer.shift;
    slopes.push_back(at::where(value > 0, at::ones_like(layer.slope), layer.slope) * factor);
    pass.inputs.push_back(at::prelu(value, layer.slope));
  }
  at::Tensor const raw = at::linear(pass.inputs.back(), encoder.encoder_weight, encoder.encoder_bias);
  at::Tensor const norm = raw.norm(2, {1}, true).clamp_min(smallest_norm), unit = raw / norm;
  LayerPass const of_head = pass_through(head, unit * feature_scale, labels);

  at::Tensor const by_unit = at::mm(of_head.deltas[0], layers_of(head)[0].weight) * feature_scale;
  at::Tensor delta = (by_unit - unit * (unit * by_unit).sum(1, true)) / norm;
  pass.deltas.push_back(delta);
  for (std::size_t i = slopes.size(); i-- > 0;) {
    at::Tensor const& above =
        i + 1 < slopes.size() ? encoder.encoder_layers[i + 1].weight : encoder.encoder_weight;  // [out, in]
    delta = at::mm(delta, above) * slopes[i];
    pass.deltas.push_back(delta);
  }
  std::reverse(pass.deltas.begin(), pass.deltas.end());
  pass.inputs.insert(pass.inputs.end(), of_head.inputs.begin(), of_head.inputs.end());
  pass.deltas.insert(pass.deltas.end(), of_head.deltas.begin(), of_head.deltas.end());
  return pass;
}

}  // namespace

LayerPass pass_through(Foundation const& encoder, Head const& head, double feature_scale, at::Tensor const& cells,
                       at::Tensor const& labels) {
  HiddenLayer const& first = encoder.encoder_layers[0];  // a row a gene
  return pass_above(encoder, head, feature_scale, cells, at::addmm(first.bias, cells, first.weight), labels);
}

struct EncoderMatching::State {
  ShardPlan const& plan;
  Communicator const& ranks;
  Foundation const& encoder;
  double feature_scale;
  Read read;
  std::vector<std::vector<std::int64_t>> const& rows_by_class;
  std::int64_t cells_a_shard;
  std::uint64_t seed;
  std::vector<std::vector<std::int64_t>> shapes;  // of the weight matrices as they lie in a sum: the first a row a gene
  OrderedSum<float> sum;

  std::vector<at::Tensor> views(float* flat) const {
    std::vector<at::Tensor> matrices;
    for (auto const& shape : shapes) {
      matrices.push_back(at::from_blob(flat, shape, at::kFloat));
      flat += matrices.back().numel();
    }
    return matrices;
  }

  // Adds what cells of class c give, times `share`, to `into`.
  void add_up(CsrBlock const& cells, Head const& head, std::int64_t c, double share,
              std::vector<at::Tensor> const& into) const {
    HiddenLayer const& layer = encoder.encoder_layers[0];
    at::Tensor const bias =
        layer.bias.detach().clone().requires_grad_(true);  // so that the product has a backward, which adds to into[0]
    at::Tensor first;
    {
      at::AutoGradMode const with_graph(true);
      first = sparse_linear(cells, layer.weight, bias, into[0]);
    }
    at::NoGradGuard const no_graph;
    auto const pass =
        pass_above(encoder, head, feature_scale, {}, first.detach(), at::full({cells.rows()}, c, at::kLong));
    torch::autograd::grad({first}, {bias}, {pass.deltas[0] * share});
    for (std::size_t i = 1; i < into.size(); ++i) into[i].addmm_(pass.deltas[i].t(), pass.inputs[i], 1, share);
  }
};

EncoderMatching::EncoderMatching(Communicator const& ranks, ShardPlan const& plan, Foundation const& encoder,
                                 double feature_scale, Read read,
                                 std::vector<std::vector<std::int64_t>> const& rows_by_class,
                                 std::vector<std::int64_t> const& hidden, std::int64_t cells_a_class,
                                 std::uint64_t seed) {
  std::vector<std::vector<std::int64_t>> shapes;
  for (auto const& layer : encoder.encoder_layers) shapes.push_back(layer.weight.sizes().vec());
  shapes.push_back(encoder.encoder_weight.sizes().vec());
  for (std::int64_t const width : hidden) shapes.push_back({width, shapes.back()[0]});
  shapes.push_back({std::ssize(rows_by_class), shapes.back()[0]});
  std::int64_t length = 0;
  for (auto const& shape : shapes) length += shape[0] * shape[1];
  state_ = std::make_unique<State>(State{plan, ranks, encoder, feature_scale, std::move(read), rows_by_class,
                                         (cells_a_class + plan.shards() - 1) / plan.shards(), seed, shapes,
                                         OrderedSum<float>(ranks, plan, length)});
}
EncoderMatching::~EncoderMatching() = default;

void EncoderMatching::for_each_class(Head const& head, std::uint64_t draw, Visit const& visit) const {
  State& state = *state_;
  int const shards = state.plan.shards();
  std::vector<Random> random;
  for (int shard = 0; shard < shards; ++shard)
    random.emplace_back(state.seed, purpose::real_sample, draw, static_cast<std::uint32_t>(shard));
  for (std::int64_t c = 0; c < std::ssize(state.rows_by_class); ++c) {
    auto const& rows = state.rows_by_class[index(c)];
    auto const drawn = [&](int shard) {
      return std::min(share_of(std::ssize(rows), shard, shards).size(), state.cells_a_shard);
    };
    std::int64_t used = 0;
    for (int shard = 0; shard < shards; ++shard) used += drawn(shard);
    state.ranks.together([&] {  // reads cells
      for (std::size_t i = 0; i < state.sum.blocks().size(); ++i) {
        auto const [begin, width] = state.sum.blocks()[i];
        std::span<float> const block = state.sum.block(i);
        ShardTree<float> tree(std::ssize(block));
        for (int shard = begin; shard < begin + width; ++shard) {
          RowRange const share = share_of(std::ssize(rows), shard, shards);
          std::vector<std::int64_t> own(rows.begin() + share.begin, rows.begin() + share.end);
          draw_to_front(own, index(drawn(shard)), random[index(shard)]);
          own.resize(index(drawn(shard)));
          std::fill(block.begin(), block.end(), 0.0F);
          for (std::int64_t first = 0; first < std::ssize(own); first += block_cells)
            state.add_up(
                state.read(std::span(own).subspan(index(first), index(std::min(block_cells, std::ssize(own) - first)))),
                head, c, 1 / static_cast<double>(used), state.views(block.data()));
          tree.add(block);
        }
        tree.take(block);
      }
    });
    auto const total = state.sum.sum();
    auto gradients = state.views(const_cast<float*>(total.data()));
    gradients[0] = gradients[0].t();
    for (auto& gradient : gradients) gradient = gradient.unsqueeze(0);
    visit(c, gradients);
  }
}

EncoderMatching::Result EncoderMatching::operator()(Head const& head, at::Tensor const& cells,
                                                    std::uint64_t draw) const {
  State const& state = *state_;
  std::int64_t const classes = std::ssize(state.rows_by_class), spc = cells.size(0) / classes;
  at::AutoGradMode const with_graph(true);
  at::Tensor const leaf = cells.detach().clone().requires_grad_(true);
  auto const pass = pass_through(state.encoder, head, state.feature_scale, leaf,
                                 at::arange(classes, at::kLong).repeat_interleave(spc));
  // First the loss by what is in the pass, class by class while its real gradient is there; then all of it by the
  // cells.
  std::vector<at::Tensor> outputs = pass.inputs, upstream;
  outputs.insert(outputs.end(), pass.deltas.begin(), pass.deltas.end());
  for (auto const& output : outputs) upstream.push_back(at::zeros_like(output));
  Result result;
  for_each_class(head, draw, [&](std::int64_t c, std::vector<at::Tensor> const& real) {
    LayerPass own;
    auto const leaves = [&](std::vector<at::Tensor> const& all, std::vector<at::Tensor>& out) {
      for (auto const& one : all) out.push_back(one.narrow(0, c * spc, spc).detach().requires_grad_(true));
    };
    leaves(pass.inputs, own.inputs);
    leaves(pass.deltas, own.deltas);
    at::Tensor const loss = gradient_distance(own, real, 1, GradientMetric::rows).sum();
    result.loss += loss.item<double>();
    auto by = own.inputs;
    by.insert(by.end(), own.deltas.begin(), own.deltas.end());
    by = torch::autograd::grad({loss}, by);
    for (std::size_t i = 0; i < by.size(); ++i) upstream[i].narrow(0, c * spc, spc).copy_(by[i]);
  });
  at::Tensor const direct = upstream[0];  // the first input is the cells themselves
  outputs.erase(outputs.begin());
  upstream.erase(upstream.begin());
  result.by_cells = torch::autograd::grad(outputs, {leaf}, upstream)[0] + direct;
  return result;
}

double EncoderMatching::loss(Head const& head, at::Tensor const& cells, std::uint64_t draw) const {
  at::NoGradGuard const no_graph;
  State const& state = *state_;
  std::int64_t const classes = std::ssize(state.rows_by_class), spc = cells.size(0) / classes;
  auto const pass = pass_through(state.encoder, head, state.feature_scale, cells,
                                 at::arange(classes, at::kLong).repeat_interleave(spc));
  double sum = 0;
  for_each_class(head, draw, [&](std::int64_t c, std::vector<at::Tensor> const& real) {
    LayerPass own = pass;
    for (auto* rows : {&own.inputs, &own.deltas})
      for (auto& one : *rows) one = one.narrow(0, c * spc, spc);
    sum += gradient_distance(own, real, 1, GradientMetric::rows).sum().item<double>();
  });
  return sum;
}

}  // namespace retort
