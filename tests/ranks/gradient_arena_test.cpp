#include "retort/ranks/gradient_arena.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "retort/ranks/nccl_sum.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

at::Tensor draw(std::uint64_t key, std::vector<std::int64_t> shape) {
  at::Tensor values = at::empty(shape);
  Random random(3, purpose::weights, key);
  for (auto& value : std::span(values.data_ptr<float>(), index(values.numel())))
    value = static_cast<float>(random.normal());
  return values;
}

struct Net {
  at::Tensor first = draw(1, {17, 5}).requires_grad_(), second = draw(2, {3, 17}).requires_grad_(),
             slope = draw(3, {1}).requires_grad_();
  std::vector<at::Tensor> parameters() const { return {first, second, slope}; }
  at::Tensor loss(int shard) const {
    return at::linear(at::prelu(at::linear(draw(100 + static_cast<std::uint64_t>(shard), {8, 5}), first), slope),
                      second)
        .square()
        .mean();
  }
};

std::vector<float> values_of(at::Tensor const& tensor) {
  auto const flat = tensor.contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

// One shard's gradient and loss, each alone.
std::vector<float> gradient_of(int shard) {
  Net net;
  auto const loss = net.loss(shard);
  auto const gradients = torch::autograd::grad({loss}, net.parameters());
  std::vector<float> flat;
  for (auto const& gradient : gradients) {
    auto const values = values_of(gradient);
    flat.insert(flat.end(), values.begin(), values.end());
  }
  flat.push_back(loss.item<float>());
  return flat;
}

std::vector<float> tree(int begin, int width) {
  if (width == 1) return gradient_of(begin);
  auto left = tree(begin, width / 2);
  auto const right = tree(begin + width / 2, width / 2);
  for (std::size_t i = 0; i < left.size(); ++i) left[i] += right[i];
  return left;
}

TEST(GradientArena, sums_shards_in_tree_order_on_any_number_of_ranks) {
  auto const world = Communicator::world();
  for (int shards : {4, 16}) {
    Net net;
    GradientArena arena(world, ShardPlan(shards, world.rank(), world.size()), net.parameters(), 1);
    for (int repeat = 0; repeat < 2; ++repeat) {  // the second step must not see the first
      for (int shard = arena.first_shard(); shard < arena.end_shard(); ++shard) {
        arena.begin_shard(shard);
        auto const loss = net.loss(shard);
        loss.backward();
        at::NoGradGuard no_grad;
        arena.statistics().add_(loss.detach());
      }
      auto const flat = arena.sum();
      std::vector<float> found;
      for (std::size_t i = 0; i < 3; ++i) {
        auto const piece = values_of(flat.narrow(0, arena.offset(i), net.parameters()[i].numel()));
        found.insert(found.end(), piece.begin(), piece.end());
      }
      found.push_back(arena.summed_statistics().item<float>());
      EXPECT_EQ(found, tree(0, shards));
    }
  }
}

// The same through blocks: matrices' gradients are written, vectors' added to.
TEST(GradientArena, blocks_are_joined_by_the_tree_and_their_norm_is_known) {
  auto const world = Communicator::world();
  for (int shards : {4, 16}) {
    Net net;
    GradientArena arena(world, ShardPlan(shards, world.rank(), world.size()), net.parameters(), 1);
    for (int repeat = 0; repeat < 2; ++repeat) {
      for (std::size_t b = 0; b < arena.blocks().size(); ++b) {
        auto const [begin, width] = arena.blocks()[b];
        arena.begin_block(b);
        EXPECT_TRUE(std::isnan(net.first.grad().const_data_ptr<float>()[0]));
        auto values = tree(begin, width);
        float const* from = values.data();
        for (auto const& parameter : net.parameters()) {
          auto const gradient = at::from_blob(const_cast<float*>(from), parameter.sizes(), at::kFloat);
          from += parameter.numel();
          parameter.dim() < 2 ? parameter.grad().add_(gradient) : parameter.grad().copy_(gradient);
        }
        at::NoGradGuard no_grad;
        arena.statistics().add_(static_cast<double>(values.back()));
      }
      auto const flat = arena.sum();
      std::vector<float> found;
      for (std::size_t i = 0; i < 3; ++i) {
        auto const piece = values_of(flat.narrow(0, arena.offset(i), net.parameters()[i].numel()));
        found.insert(found.end(), piece.begin(), piece.end());
      }
      found.push_back(arena.summed_statistics().item<float>());
      EXPECT_EQ(found, tree(0, shards));
      double const norm = arena.norm();
      EXPECT_NEAR(norm, flat.to(at::kDouble).norm().item<double>(), 1e-6 * norm);
    }
  }
}

TEST(GradientArena, weights_are_views_and_root_decides_them) {
  auto const world = Communicator::world();
  Net net;
  {
    at::NoGradGuard no_grad;
    for (auto& parameter : net.parameters()) parameter.add_(static_cast<double>(world.rank()));
  }
  {
    GradientArena arena(world, ShardPlan(4, world.rank(), world.size()), net.parameters(), 0);
    arena.broadcast_weights();
    EXPECT_TRUE(at::equal(net.first, Net().first));
    EXPECT_EQ(arena.offset(1) % 16, 0);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(net.second.data_ptr()) % 64, 0u);

    at::Tensor const array = arena.shared_array();
    RowRange const own = arena.own_slice();
    array.narrow(0, own.begin, own.size()).add_(1);
    arena.fence();
    EXPECT_EQ(array.sum().item<double>(), static_cast<double>(arena.length()));  // slices tile the array
  }
  EXPECT_TRUE(at::equal(net.second, Net().second));  // parameters outlive the arena
}

TEST(NcclSum, is_refused_by_name_where_it_is_not_built) {
  if (nccl_is_built()) GTEST_SKIP() << "this build has NCCL";
  EXPECT_THROW(NcclSum(Communicator::serial()), std::runtime_error);
}

}  // namespace
}  // namespace retort
