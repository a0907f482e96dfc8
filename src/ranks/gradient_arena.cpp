#include "retort/ranks/gradient_arena.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "node_window.hpp"
#include "retort/ranks/nccl_sum.hpp"
#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/error.hpp"
#include "retort/run/huge_pages.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t floats_of_a_line = 16;  // 64 bytes
constexpr std::int64_t floats_of_a_piece =
    4096;  // whose squares are summed in float lanes, and in double from there on

double sum_of_squares(float const* values, std::int64_t count) {  // `count` is a multiple of a line
  float lanes[floats_of_a_line] = {};
  for (std::int64_t i = 0; i < count; i += floats_of_a_line)
    for (std::int64_t j = 0; j < floats_of_a_line; ++j) lanes[j] += values[i + j] * values[i + j];
  double sum = 0;
  for (float const lane : lanes) sum += static_cast<double>(lane);
  return sum;
}

at::Tensor zeros_on_huge_pages(std::int64_t length, at::Device device) {
  if (!device.is_cpu()) return at::zeros({length}, at::TensorOptions().dtype(at::kFloat).device(device));
  auto const memory = large_array(index(length) * sizeof(float));
  return at::from_blob(
      memory.get(), {length}, [memory](void*) {}, at::kFloat);
}

std::int64_t padded(std::int64_t length) {
  return (length + floats_of_a_line - 1) / floats_of_a_line * floats_of_a_line;
}

}  // namespace

// A block of w shards is summed in tree order by a binary counter over pairs of shards: autograd adds the two shards of
// a pair into one buffer, and finished buffers are added as the counter carries. Buffer 0 is the block itself.
struct GradientArena::State {
  Communicator const& ranks;
  ShardPlan plan;
  std::vector<at::Tensor> parameters;
  std::vector<std::int64_t> offsets;
  std::int64_t weights_length = 0, statistics_length, length = 0;  // length: weights and statistics, padded
  Communicator node;
  std::vector<std::unique_ptr<NodeWindow>> windows;  // of shared arrays, where the node has several ranks
  at::Tensor weights, total;
  std::vector<double> own_squares;
  double* squares = nullptr;  // of each piece of the gradient, shared by the node
  OrderedSum<float> sum;
  std::vector<std::vector<at::Tensor>> buffers;                 // [block][buffer], each [length]
  std::vector<std::vector<std::vector<at::Tensor>>> gradients;  // [block][buffer][parameter]
  std::unique_ptr<NcclSum> nccl;
  std::size_t block = 0, buffer = 0;
  int pair = -1;  // of the block, being filled; -1 between steps

  State(Communicator const& all, ShardPlan const& shards, std::vector<at::Tensor> list, std::int64_t statistics)
      : ranks(all),
        plan(shards),
        parameters(std::move(list)),
        statistics_length(statistics),
        node(all.node()),
        sum(all, shards, lay_out()) {
    auto const device = parameters.empty() ? at::Device(at::kCPU) : parameters[0].device();
    weights = shared_array(device);
    auto const pieces = index((weights_length + floats_of_a_piece - 1) / floats_of_a_piece);
    own_squares.resize(pieces);
    squares = shares(device) ? static_cast<double*>(new_window(std::ssize(own_squares) * std::int64_t{sizeof(double)}))
                             : own_squares.data();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      at::NoGradGuard no_grad;
      auto view = weights.narrow(0, offsets[i], parameters[i].numel()).view(parameters[i].sizes());
      if (node.is_root() || !shares(device)) view.copy_(parameters[i]);
      parameters[i].set_data(view);
    }
    fence();
    for (std::size_t b = 0; b < sum.blocks().size(); ++b) add_block(device);
    if (device.is_cuda() && all.size() > 1) nccl = std::make_unique<NcclSum>(all);
  }

  // Parameters outlive the arena, memory that ranks share does not.
  ~State() {
    at::NoGradGuard no_grad;
    for (auto& parameter : parameters)
      if (!windows.empty()) parameter.set_data(parameter.detach().clone());
  }

  bool shares(at::Device device) const { return device.is_cpu() && node.size() > 1; }
  void* new_window(std::int64_t bytes) {
    return windows.emplace_back(std::make_unique<NodeWindow>(node, node.is_root() ? bytes : 0))->piece(0);
  }
  at::Tensor shared_array(at::Device device) {
    if (!shares(device)) return zeros_on_huge_pages(weights_length, device);
    void* const memory = new_window(weights_length * std::int64_t{sizeof(float)});
    fence();  // its first rank has cleared it
    return at::from_blob(memory, {weights_length}, at::kFloat);
  }
  void fence() const {
    if (!windows.empty()) windows.front()->fence();
  }

  std::int64_t lay_out() {
    for (auto const& parameter : parameters) {
      if (parameter.scalar_type() != at::kFloat)
        fail(ExitCode::failed, "a parameter is not float32 (the arena is one flat float32 array)");
      offsets.push_back(weights_length);
      weights_length += padded(parameter.numel());
    }
    return length = weights_length + padded(statistics_length);
  }

  void add_block(at::Device device) {
    auto const b = buffers.size();
    buffers.emplace_back();
    gradients.emplace_back();
    add_buffer(b, device.is_cpu() ? at::from_blob(sum.block(b).data(), {length}, at::kFloat).zero_()
                                  : zeros_on_huge_pages(length, device));
  }

  void add_buffer(std::size_t b, at::Tensor const& memory) {
    buffers[b].push_back(memory);
    auto& views = gradients[b].emplace_back();
    for (std::size_t p = 0; p < parameters.size(); ++p)
      views.push_back(memory.narrow(0, offsets[p], parameters[p].numel()).view(parameters[p].sizes()));
  }

  // From here on gradients go to buffer `i` of block `b`; those past the first are made when the counter first needs
  // them.
  void use(std::size_t b, std::size_t i) {
    while (buffers[b].size() <= i) add_buffer(b, zeros_on_huge_pages(length, weights.device()));
    block = b;
    buffer = i;
    for (std::size_t p = 0; p < parameters.size(); ++p) parameters[p].mutable_grad() = gradients[b][i][p];
  }

  void carry() {
    if (pair < 0) return;
    for (unsigned ones = static_cast<unsigned>(pair); ones & 1; ones >>= 1) {
      buffers[block][buffer - 1].add_(buffers[block][buffer]);
      --buffer;
    }
  }
};

GradientArena::GradientArena(Communicator const& ranks, ShardPlan const& plan, std::vector<at::Tensor> parameters,
                             std::int64_t statistics)
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
  s.pair = pair;
  s.use(b, index(std::popcount(static_cast<unsigned>(pair))));
  s.buffers[b][s.buffer].zero_();
}

std::vector<ShardBlock> const& GradientArena::blocks() const { return state_->sum.blocks(); }

void GradientArena::begin_block(std::size_t b) {
  State& s = *state_;
  at::NoGradGuard no_grad;
  s.pair = -1;
  s.use(b, 0);
  if (s.weights.is_cuda()) {
    s.buffers[b][0].zero_();
    return;
  }
  statistics().zero_();
  for (at::Tensor const& gradient : s.gradients[b][0]) {
    if (gradient.dim() < 2)
      gradient.zero_();
    else
      gradient.data_ptr<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  }
}

at::Tensor GradientArena::statistics() {
  return state_->buffers[state_->block][state_->buffer].narrow(0, state_->weights_length, state_->statistics_length);
}

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

at::Tensor GradientArena::summed_statistics() const {
  return state_->total.narrow(0, state_->weights_length, state_->statistics_length);
}
bool GradientArena::own_is_finite() const {
  return std::all_of(state_->buffers.begin(), state_->buffers.end(),
                     [](auto const& block) { return block[0].isfinite().all().template item<bool>(); });
}
double GradientArena::norm() {
  State& s = *state_;
  if (s.weights.is_cuda()) return s.total.narrow(0, 0, s.weights_length).norm().item<double>();
  float const* const gradient = s.total.const_data_ptr<float>();
  RowRange const pieces = share_of(std::ssize(s.own_squares), s.node.rank(), s.node.size());
  for (std::int64_t piece = pieces.begin; piece < pieces.end; ++piece) {
    std::int64_t const begin = piece * floats_of_a_piece;
    s.squares[piece] = sum_of_squares(gradient + begin, std::min(floats_of_a_piece, s.weights_length - begin));
  }
  s.fence();
  double total = 0;
  for (std::int64_t piece = 0; piece < std::ssize(s.own_squares); ++piece) total += s.squares[piece];
  return std::sqrt(total);
}

RowRange GradientArena::own_slice() const {
  State const& s = *state_;
  if (s.windows.empty()) return {0, s.weights_length};
  return share_of(s.weights_length, s.node.rank(), s.node.size(), floats_of_a_line);
}

at::Tensor GradientArena::own_part(at::Tensor const& flat) const {
  RowRange const own = own_slice();
  return flat.narrow(0, own.begin, own.size());
}

at::Tensor GradientArena::shared_array() { return state_->shared_array(state_->weights.device()); }
void GradientArena::fence() const { state_->fence(); }
at::Tensor GradientArena::weights() const { return state_->weights; }
std::int64_t GradientArena::length() const { return state_->weights_length; }
std::int64_t GradientArena::offset(std::size_t i) const { return state_->offsets[i]; }

void GradientArena::broadcast_weights() {
  State& s = *state_;
  at::Tensor host = s.weights.cpu();
  s.ranks.broadcast(std::span(host.data_ptr<float>(), index(host.numel())));
  if (s.weights.is_cuda()) s.weights.copy_(host);
  s.fence();
}

}  // namespace retort
