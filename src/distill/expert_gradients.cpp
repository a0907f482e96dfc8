#include "retort/distill/expert_gradients.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "retort/distill/layer_gradients.hpp"
#include "retort/kernels/packed_product.hpp"
#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

// Rows of one slice that this iteration uses: all, or a sample of each class without replacement (a partial shuffle).
RealFeatures::Slice sample(RealFeatures::Slice const& all, std::int64_t cells_a_class_and_shard, Random random) {
  std::vector<std::int64_t> rows, begin{0};
  for (std::size_t c = 0; c + 1 < all.class_begin.size(); ++c) {
    std::vector<std::int64_t> of_class;
    for (std::int64_t row = all.class_begin[c]; row < all.class_begin[c + 1]; ++row) of_class.push_back(row);
    std::size_t const taken = std::min(of_class.size(), index(cells_a_class_and_shard));
    draw_to_front(of_class, taken, random);
    rows.insert(rows.end(), of_class.begin(), of_class.begin() + static_cast<std::ptrdiff_t>(taken));
    begin.push_back(static_cast<std::int64_t>(rows.size()));
  }
  return {all.values.index_select(0, at::tensor(rows, at::kLong)), begin};
}

// A slice made ready for products with a few rows: a head's, and each class's residuals.
struct PackedSlice {
  explicit PackedSlice(RealFeatures::Slice const& slice)
      : class_begin(slice.class_begin), scores(pack_matrix(slice.values.t())) {
    for (std::size_t c = 0; c + 1 < class_begin.size(); ++c)
      of_class.push_back(pack_matrix(slice.values.narrow(0, class_begin[c], class_begin[c + 1] - class_begin[c])));
  }
  std::vector<std::int64_t> class_begin;
  at::Tensor scores;                 // of [width + 1, rows]
  std::vector<at::Tensor> of_class;  // of [rows of the class, width + 1]
};

}  // namespace

struct ExpertGradients::State {
  Communicator const& ranks;
  ShardPlan const& plan;
  RealFeatures const& real;
  std::int64_t length;  // of one class's gradient
  std::int64_t cells_a_class;
  std::uint64_t seed;
  OrderedSum<float> sum;
  std::vector<double> shares;  // 1 / cells of each class that one iteration uses

  std::vector<PackedSlice> slices;  // of this rank's shards, where all cells are used

  // Sums over the slice's rows into `out`, [classes, length]; of a head with hidden layers, class by class.
  void add_up(RealFeatures::Slice const& slice, Head const& head, at::Tensor const& out) const {
    auto const layers = layer_gradients(out, head);
    for (std::int64_t c = 0; c < real.classes(); ++c) {
      auto const i = index(c);
      at::Tensor const rows =
          slice.values.narrow(0, slice.class_begin[i], slice.class_begin[i + 1] - slice.class_begin[i])
              .narrow(1, 0, real.width());
      auto const pass = pass_through(head, rows, at::full({rows.size(0)}, c, at::kLong));
      for (std::size_t l = 0; l < layers.size(); ++l) {
        std::int64_t const in = pass.inputs[l].size(1);
        layers[l].select(0, c).narrow(1, 0, in).copy_(at::mm(pass.deltas[l].t(), pass.inputs[l]));
        layers[l].select(0, c).select(1, in).copy_(pass.deltas[l].sum(0));
      }
    }
  }

  // Of a linear head [classes, width + 1] into `out` [classes, classes, width + 1].
  void add_up(PackedSlice const& slice, at::Tensor const& head, at::Tensor const& out) const {
    at::Tensor const no_bias = at::zeros({std::max(slice.class_begin.back(), out.size(2))}, at::kFloat);
    // A row a class, so that the softmax runs along the cells in vector registers.
    at::Tensor const difference =
        at::softmax(multiply_packed(head, slice.scores, no_bias.narrow(0, 0, slice.class_begin.back())), 0);
    for (std::int64_t c = 0; c < real.classes(); ++c) {
      auto const i = index(c);
      at::Tensor const of_class = difference.narrow(
          1, slice.class_begin[i], slice.class_begin[i + 1] - slice.class_begin[i]);  // [classes, rows]
      of_class.select(0, c).sub_(1);
      multiply_packed_out(out.select(0, c), of_class, slice.of_class[i], no_bias.narrow(0, 0, out.size(2)));
    }
  }
};

ExpertGradients::ExpertGradients(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real,
                                 std::vector<std::int64_t> const& hidden, std::int64_t cells_a_class,
                                 std::uint64_t seed)
    : state_(new State{
          ranks,
          plan,
          real,
          gradient_length(real.classes(), real.width(), hidden),
          cells_a_class,
          seed,
          OrderedSum<float>(ranks, plan, real.classes() * gradient_length(real.classes(), real.width(), hidden)),
          {},
          {}}) {
  std::int64_t const a_shard = (cells_a_class + plan.shards() - 1) / plan.shards();
  for (std::int64_t const count : real.counts()) {
    std::int64_t used = 0;
    for (int shard = 0; shard < plan.shards(); ++shard) {
      std::int64_t const rows = share_of(count, shard, plan.shards()).size();
      used += cells_a_class ? std::min(rows, a_shard) : rows;
    }
    state_->shares.push_back(1 / static_cast<double>(used));
  }
  for (int shard = plan.begin(); shard < plan.end() && !cells_a_class && hidden.empty(); ++shard)
    state_->slices.emplace_back(real.slice(shard));
}

ExpertGradients::~ExpertGradients() = default;

at::Tensor ExpertGradients::operator()(Head const& head, std::uint64_t draw) const {
  at::NoGradGuard no_grad;
  State& state = *state_;
  std::int64_t const classes = state.real.classes(), width = state.real.width(), length = classes * state.length;
  bool const linear = head.hidden.empty();
  at::Tensor const scores =
      linear ? at::cat({head.weight, head.bias.unsqueeze(1)}, 1) : at::Tensor();  // [classes, width + 1]
  std::int64_t const a_shard = (state.cells_a_class + state.plan.shards() - 1) / state.plan.shards();

  at::Tensor of_shard = at::empty({classes, state.length}, at::kFloat);
  at::Tensor const of_linear = linear ? of_shard.view({classes, classes, width + 1}) : at::Tensor();
  auto const& blocks = state.sum.blocks();
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    ShardTree<float> tree(length);
    for (int shard = blocks[i].begin; shard < blocks[i].begin + blocks[i].width; ++shard) {
      if (linear && !state.cells_a_class) {
        state.add_up(state.slices[index(shard - state.plan.begin())], scores, of_linear);
      } else {
        auto const& all = state.real.slice(shard);
        Random const random(state.seed, purpose::real_sample, draw, static_cast<std::uint32_t>(shard));
        auto const slice = state.cells_a_class ? sample(all, a_shard, random) : all;
        if (linear)
          state.add_up(PackedSlice(slice), scores, of_linear);
        else
          state.add_up(slice, head, of_shard);
      }
      tree.add({of_shard.const_data_ptr<float>(), index(length)});
    }
    tree.take(state.sum.block(i));
  }
  auto const total = state.sum.sum();
  at::Tensor gradients = at::empty({classes, state.length}, at::kFloat);
  std::copy(total.begin(), total.end(), gradients.data_ptr<float>());
  return gradients.mul_(at::tensor(state.shares, at::kFloat).view({classes, 1}));
}

at::Tensor ExpertGradients::over_all_cells(at::Tensor const& by_class) const {
  at::Tensor const counts = at::tensor(state_->real.counts(), at::kLong).to(at::kFloat);
  return (by_class * (counts / counts.sum()).unsqueeze(1)).sum(0);
}

}  // namespace retort
