#include "retort/ranks/gradient_arena.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>

#include "retort/ranks/nccl_sum.hpp"
#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/error.hpp"
#include "retort/run/huge_pages.hpp"

namespace retort {
namespace {

constexpr std::int64_t floats_of_a_line = 16;  // 64 bytes
at::Tensor zeros_on_huge_pages(std::int64_t length, at::Device device) {
  at::Tensor const fresh = at::empty({length}, at::TensorOptions().dtype(at::kFloat).device(device));
  if (device.is_cpu()) prefer_huge_pages(fresh.data_ptr(), fresh.nbytes());
  return fresh.zero_();
}

std::int64_t padded(std::int64_t length) { return (length + floats_of_a_line - 1) / floats_of_a_line * floats_of_a_line; }

}  // namespace

// A block of w shards is summed in tree order by a binary counter over pairs of shards: autograd adds the two shards of a
// pair into one buffer, and finished buffers are added as the counter carries. Buffer 0 is the block itself.
struct GradientArena::State {
  Communicator const& ranks;
  ShardPlan plan;
  std::vector<at::Tensor> parameters;
  std::vector<std::int64_t> offsets;
  std::int64_t weights_length = 0, statistics_length, length = 0;  // length: weights and statistics, padded
  at::Tensor weights, total;
  OrderedSum<float> sum;
  std::vector<std::vector<at::Tensor>> buffers;                    // [block][buffer], each [length]
  std::vector<std::vector<std::vector<at::Tensor>>> gradients;     // [block][buffer][parameter]
  std::unique_ptr<NcclSum> nccl;
  std::size_t block = 0, buffer = 0;
  int pair = -1;  // of the block, being filled; -1 between steps

  State(Communicator const& all, ShardPlan const& shards, std::vector<at::Tensor> list, std::int64_t statistics)
      : ranks(all), plan(shards), parameters(std::move(list)), statistics_length(statistics), sum(all, shards, lay_out()) {
    auto const device = parameters.empty() ? at::Device(at::kCPU) : parameters[0].device();
    weights = zeros_on_huge_pages(weights_length, device);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      at::NoGradGuard no_grad;
      auto view = weights.narrow(0, offsets[i], parameters[i].numel()).view(parameters[i].sizes());
      view.copy_(parameters[i]);
      parameters[i].set_data(view);
    }
    for (std::size_t b = 0; b < sum.blocks().size(); ++b) add_block(b, device);
    if (device.is_cuda() && all.size() > 1) nccl = std::make_unique<NcclSum>(all);
  }

  std::int64_t lay_out() {
    for (auto const& parameter : parameters) {
      if (parameter.scalar_type() != at::kFloat) fail(ExitCode::failed, "a parameter is not float32 (the arena is one flat float32 array)");
      offsets.push_back(weights_length);
      weights_length += padded(parameter.numel());
    }
    return length = weights_length + padded(statistics_length);
  }

  void add_block(std::size_t b, at::Device device) {
    int const pairs = std::max(1, sum.blocks()[b].width / 2);
    int const count = std::countr_zero(static_cast<unsigned>(pairs)) + 1;  // the deepest stack of the counter
    auto& own = buffers.emplace_back();
    auto& views = gradients.emplace_back();
    for (int i = 0; i < count; ++i) {
      bool const in_sum_memory = i == 0 && device.is_cpu();
      own.push_back(in_sum_memory ? at::from_blob(sum.block(b).data(), {length}, at::kFloat)
                                  : zeros_on_huge_pages(length, device));
      auto& of_buffer = views.emplace_back();
      for (std::size_t p = 0; p < parameters.size(); ++p) {
        of_buffer.push_back(own.back().narrow(0, offsets[p], parameters[p].numel()).view(parameters[p].sizes()));
      }
    }
  }

  void carry() {
    if (pair < 0) return;
    for (unsigned ones = static_cast<unsigned>(pair); ones & 1; ones >>= 1) {
      buffers[block][buffer - 1].add_(buffers[block][buffer]);
      --buffer;
    }
  }
};

GradientArena::GradientArena(Communicator const& ranks, ShardPlan const& plan, std::vector<at::Tensor> parameters, std::int64_t statistics)
    : state_(std::make_unique<State>(ranks, plan, std::move(parameters), statistics)) {}
GradientArena::~GradientArena() = default;

int GradientArena::first_shard() const { return state_->plan.begin(); }
int GradientArena::end_shard() const { return state_->plan.end(); }

void GradientArena::begin_shard(int shard) {
  State& s = *state_;
  auto const& blocks = s.sum.blocks();
  std::size_t b = 0;
  while (shard >= blocks[b].begin + blocks[b].width) ++b;
  int const place = shard - blocks[b].begin, pair = place / 2;
  bool const opens_pair = place % 2 == 0;
  if (!opens_pair) return;
  at::NoGradGuard no_grad;
  s.carry();
  s.block = b;
  s.pair = pair;
  s.buffer = static_cast<std::size_t>(std::popcount(static_cast<unsigned>(pair)));
  s.buffers[b][s.buffer].zero_();
  for (std::size_t p = 0; p < s.parameters.size(); ++p) s.parameters[p].mutable_grad() = s.gradients[b][s.buffer][p];
}

at::Tensor GradientArena::statistics() { return state_->buffers[state_->block][state_->buffer].narrow(0, state_->weights_length, state_->statistics_length); }

at::Tensor GradientArena::sum() {
  State& s = *state_;
  at::NoGradGuard no_grad;
  s.carry();
  s.pair = -1;
  if (!s.weights.is_cuda()) {
    auto const total = s.sum.sum();
    s.total = at::from_blob(const_cast<float*>(total.data()), {s.length}, at::kFloat);
  } else {
    s.total = s.buffers.empty() ? at::zeros({s.length}, s.weights.options()) : s.buffers[0][0].clone();
    for (std::size_t b = 1; b < s.buffers.size(); ++b) s.total.add_(s.buffers[b][0]);
    if (s.nccl) s.nccl->sum(s.total);
  }
  return s.total.narrow(0, 0, s.weights_length);
}

at::Tensor GradientArena::summed_statistics() const { return state_->total.narrow(0, state_->weights_length, state_->statistics_length); }
bool GradientArena::own_is_finite() const {
  return std::all_of(state_->buffers.begin(), state_->buffers.end(), [](auto const& block) { return block[0].isfinite().all().template item<bool>(); });
}
at::Tensor GradientArena::weights() const { return state_->weights; }
std::int64_t GradientArena::length() const { return state_->weights_length; }
std::int64_t GradientArena::offset(std::size_t i) const { return state_->offsets[i]; }

void GradientArena::broadcast_weights() {
  State& s = *state_;
  at::Tensor host = s.weights.cpu();
  s.ranks.broadcast(std::span(host.data_ptr<float>(), static_cast<std::size_t>(host.numel())));
  if (s.weights.is_cuda()) s.weights.copy_(host);
}

}  // namespace retort
