#include "retort/distill/expert_gradients.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

// Rows of one slice that this iteration uses: all, or a sample of each class without replacement (a partial shuffle).
RealFeatures::Slice sample(RealFeatures::Slice const& all, std::int64_t cells_a_class_and_shard, Random random) {
  std::vector<std::int64_t> rows, begin{0};
  for (std::size_t c = 0; c + 1 < all.class_begin.size(); ++c) {
    std::vector<std::int64_t> of_class;
    for (std::int64_t row = all.class_begin[c]; row < all.class_begin[c + 1]; ++row) of_class.push_back(row);
    std::size_t const taken = std::min(of_class.size(), static_cast<std::size_t>(cells_a_class_and_shard));
    for (std::size_t i = 0; i < taken; ++i) std::swap(of_class[i], of_class[i + random.below(of_class.size() - i)]);
    rows.insert(rows.end(), of_class.begin(), of_class.begin() + static_cast<std::ptrdiff_t>(taken));
    begin.push_back(static_cast<std::int64_t>(rows.size()));
  }
  return {all.values.index_select(0, at::tensor(rows, at::kLong)), begin};
}

}  // namespace

struct ExpertGradients::State {
  Communicator const& ranks;
  ShardPlan const& plan;
  RealFeatures const& real;
  std::int64_t cells_a_class;
  std::uint64_t seed;
  OrderedSum<float> sum;
  std::vector<double> shares;  // 1 / cells of each class that one iteration uses

  // Sums over the slice's rows into `out`, [classes, classes, width + 1].
  void add_up(RealFeatures::Slice const& slice, at::Tensor const& head, at::Tensor out) const {
    // A row a class, so that the softmax runs along the cells in vector registers.
    at::Tensor const difference = at::softmax(at::mm(head, slice.values.t()), 0);  // [classes, rows]
    for (std::int64_t c = 0; c < real.classes(); ++c) {
      std::int64_t const begin = slice.class_begin[static_cast<std::size_t>(c)], rows = slice.class_begin[static_cast<std::size_t>(c) + 1] - begin;
      at::Tensor target = out.select(0, c);
      if (rows == 0) {
        target.zero_();
        continue;
      }
      at::Tensor const of_class = difference.narrow(1, begin, rows);
      of_class.select(0, c).sub_(1);
      at::mm_out(target, of_class, slice.values.narrow(0, begin, rows));
    }
  }
};

ExpertGradients::ExpertGradients(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, std::int64_t cells_a_class,
                                 std::uint64_t seed)
    : state_(new State{ranks, plan, real, cells_a_class, seed,
                       OrderedSum<float>(ranks, plan, real.classes() * real.classes() * (real.width() + 1)), {}}) {
  std::int64_t const a_shard = (cells_a_class + plan.shards() - 1) / plan.shards();
  for (std::int64_t const count : real.counts()) {
    std::int64_t used = 0;
    for (int shard = 0; shard < plan.shards(); ++shard) {
      std::int64_t const rows = share_of(count, shard, plan.shards()).size();
      used += cells_a_class ? std::min(rows, a_shard) : rows;
    }
    state_->shares.push_back(1 / static_cast<double>(used));
  }
}

ExpertGradients::~ExpertGradients() = default;

at::Tensor ExpertGradients::operator()(at::Tensor const& weight, at::Tensor const& bias, std::uint64_t draw) const {
  at::NoGradGuard no_grad;
  State& state = *state_;
  std::int64_t const classes = state.real.classes(), length = classes * classes * (state.real.width() + 1);
  std::vector<std::int64_t> const sizes{classes, classes, state.real.width() + 1};
  at::Tensor const head = at::cat({weight, bias.unsqueeze(1)}, 1);  // [classes, width + 1]
  std::int64_t const a_shard = (state.cells_a_class + state.plan.shards() - 1) / state.plan.shards();

  at::Tensor of_shard = at::empty(sizes, at::kFloat);
  auto const& blocks = state.sum.blocks();
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    ShardTree<float> tree(length);
    for (int shard = blocks[i].begin; shard < blocks[i].begin + blocks[i].width; ++shard) {
      auto const& all = state.real.slice(shard);
      if (state.cells_a_class)
        state.add_up(sample(all, a_shard, Random(state.seed, purpose::head_order, draw, static_cast<std::uint32_t>(shard))), head, of_shard);
      else
        state.add_up(all, head, of_shard);
      tree.add({of_shard.const_data_ptr<float>(), static_cast<std::size_t>(length)});
    }
    tree.take(state.sum.block(i));
  }
  auto const total = state.sum.sum();
  at::Tensor gradients = at::empty(sizes, at::kFloat);
  std::copy(total.begin(), total.end(), gradients.data_ptr<float>());
  return gradients.mul_(at::tensor(state.shares, at::kFloat).view({classes, 1, 1}));
}

}  // namespace retort
