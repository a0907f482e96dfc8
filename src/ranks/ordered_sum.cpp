#include "retort/ranks/ordered_sum.hpp"

#include <bit>
#include <numeric>

#include "block_tree.hpp"
#include "node_window.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/watchdog.hpp"

namespace retort {
namespace {

constexpr std::int64_t alignment_bytes = 64;
enum Tag : int { blocks_tag = 21, result_tag };

// The fewest blocks that cover the same shards: two that are one node of the tree become one.
std::vector<ShardBlock> joined(std::vector<ShardBlock> blocks) {
  std::sort(blocks.begin(), blocks.end(), [](auto const& a, auto const& b) { return a.begin < b.begin; });
  std::vector<ShardBlock> out;
  for (auto block : blocks) {
    while (!out.empty() && out.back().width == block.width && out.back().begin + block.width == block.begin &&
           out.back().begin % (2 * block.width) == 0) {
      block = {out.back().begin, 2 * block.width};
      out.pop_back();
    }
    out.push_back(block);
  }
  return out;
}

}  // namespace

std::vector<ShardBlock> shard_blocks(int begin, int end) {
  std::vector<ShardBlock> blocks;
  while (begin < end) {
    int width = begin ? begin & -begin : static_cast<int>(std::bit_floor(static_cast<unsigned>(end)));
    while (begin + width > end) width /= 2;
    blocks.push_back({begin, width});
    begin += width;
  }
  return blocks;
}

// Every rank sums one slice of the vectors. Inside a node it reads the others' blocks where they lie. Between nodes the
// blocks of a whole node travel, summed as far as the tree allows: for slice r the ranks of each node that have r's
// place there (deputies) send it, and get the result for their node. So a vector crosses a node's link twice, however
// many ranks the node has, and straight from and into shared memory.
template <class Value>
struct OrderedSum<Value>::Memory {
  // A message between nodes, the same in every sum.
  struct Message {
    int peer = 0;
    Value* memory = nullptr;
    std::int64_t count = 0;
  };
  // Blocks of this node to be summed over [from, from + count) before they are sent.
  struct Outgoing {
    int peer = 0;
    std::int64_t from = 0, count = 0;
    Value* buffer = nullptr;
  };

  Communicator const& ranks;
  Communicator node;
  ShardPlan plan;
  std::int64_t length, stride;             // stride: length padded to 64 bytes
  std::vector<ShardBlock> own, of_node;    // blocks of this rank, and of this node
  std::vector<int> node_of;                // [ranks]
  std::vector<std::vector<int>> ranks_of;  // [nodes]: in rank order
  std::unique_ptr<NodeWindow> window;      // every rank's blocks, then the first rank's result
  Value* result = nullptr;
  RowRange slice;                            // that this rank sums
  std::vector<BlockTree<Value>> node_trees;  // one a block of this node
  std::unique_ptr<BlockTree<Value>> whole;   // of this node's ranks' blocks and the other nodes' blocks, for the slice
  std::vector<std::vector<Value>> buffers;   // what comes from and goes to other nodes
  std::vector<Message> blocks_in, results_in, results_out;
  std::vector<Outgoing> blocks_out;

  Memory(Communicator const& all, ShardPlan const& shards, std::int64_t elements, int ranks_a_node)
      : ranks(all),
        node(all.node(ranks_a_node)),
        plan(shards),
        length(elements),
        stride(padded(elements)),
        own(blocks_of(all.rank())) {
    find_nodes();
    require_short_messages();
    auto const mine = index(node_of[index(ranks.rank())]);
    of_node = blocks_of_node(mine);
    auto const vectors = std::ssize(own) + (node.is_root() && !is_one_block() ? 1 : 0);
    window = std::make_unique<NodeWindow>(node, vectors * stride * std::int64_t{sizeof(Value)});
    result = is_one_block() ? piece(0) : piece(0) + std::ssize(blocks_of(ranks_of[mine][0])) * stride;
    slice = slice_of(ranks.rank());

    std::vector<HeldBlock<Value>> held;  // inside the node: every rank's blocks
    for (int l = 0; l < node.size(); ++l) {
      Value const* at = piece(l);
      for (auto const& block : blocks_of(ranks_of[mine][index(l)]))
        held.push_back({block, std::exchange(at, at + stride), 0});
    }
    for (auto const& block : of_node) node_trees.emplace_back(block, held);
    for (std::size_t other = 0; other < ranks_of.size(); ++other)
      if (other != mine) plan_messages(other, held);
    whole = std::make_unique<BlockTree<Value>>(ShardBlock{0, plan.shards()}, held);
  }

  static std::int64_t padded(std::int64_t count) {
    constexpr std::int64_t step = alignment_bytes / sizeof(Value);
    return (count + step - 1) / step * step;
  }
  std::vector<ShardBlock> blocks_of(int rank) const {
    return shard_blocks(plan.begin_of(rank), plan.begin_of(rank + 1));
  }
  std::vector<ShardBlock> blocks_of_node(std::size_t n) const {
    std::vector<ShardBlock> all;
    for (int const rank : ranks_of[n])
      for (auto const& block : blocks_of(rank)) all.push_back(block);
    return joined(std::move(all));
  }
  bool is_one_block() const { return ranks.size() == 1 && own.size() == 1; }  // which is the sum itself
  RowRange slice_of(int rank) const {
    return share_of(stride, rank, ranks.size(), alignment_bytes / std::int64_t{sizeof(Value)});
  }
  Value* piece(int local) const { return static_cast<Value*>(window->piece(local)); }

  void find_nodes() {
    int first = ranks.rank();
    node.broadcast(std::span(&first, 1));
    std::vector<int> numbers(index(ranks.size()), -1);  // of the node whose first rank it is
    for (int const leader : ranks.gather(first)) {
      auto& number = numbers[index(leader)];
      if (number < 0) {
        number = static_cast<int>(ranks_of.size());
        ranks_of.emplace_back();
      }
      ranks_of[index(number)].push_back(static_cast<int>(node_of.size()));
      node_of.push_back(number);
    }
  }
  // The rank of node `n` that talks with `rank`.
  int deputy(std::size_t n, int rank) const {
    auto const& home = ranks_of[index(node_of[index(rank)])];
    auto const place = index(std::find(home.begin(), home.end(), rank) - home.begin());
    return ranks_of[n][place % ranks_of[n].size()];
  }

  // What passes between this rank and node `other`; its blocks of this rank's slice join `held`.
  void plan_messages(std::size_t other, std::vector<HeldBlock<Value>>& held) {
    auto const mine = index(node_of[index(ranks.rank())]);
    auto const theirs = blocks_of_node(other);
    auto& arrived = buffers.emplace_back(theirs.size() * index(slice.size()));
    for (std::size_t b = 0; b < theirs.size(); ++b)
      held.push_back({theirs[b], arrived.data() + static_cast<std::int64_t>(b) * slice.size(), slice.begin});
    if (!arrived.empty()) blocks_in.push_back({deputy(other, ranks.rank()), arrived.data(), std::ssize(arrived)});
    if (slice.size() > 0) results_out.push_back({deputy(other, ranks.rank()), result + slice.begin, slice.size()});
    for (int const rank : ranks_of[other]) {
      RowRange const part = slice_of(rank);
      if (deputy(mine, rank) != ranks.rank() || part.size() == 0) continue;
      results_in.push_back({rank, result + part.begin, part.size()});
      if (of_node.empty()) continue;
      Value* buffer = nullptr;  // where one block lies in shared memory already, it is sent from there
      if (of_node.size() > 1 || !node_trees[0].single())
        buffer = buffers.emplace_back(of_node.size() * index(part.size())).data();
      blocks_out.push_back({rank, part.begin, part.size(), buffer});
    }
  }
  void require_short_messages() const {
    std::int64_t blocks = 0;
    for (std::size_t n = 0; n < ranks_of.size(); ++n) blocks = std::max(blocks, std::ssize(blocks_of_node(n)));
    if (slice_of(ranks.size() - 1).size() * blocks > std::numeric_limits<int>::max())  // the last slice is the longest
      fail(ExitCode::usage, "a sum of {} numbers is too long for a message between nodes. Use more ranks", length);
  }

  void start(std::vector<Message> const& messages, Tag tag, bool receive, std::vector<MPI_Request>& requests) const {
    for (auto const& [peer, memory, count] : messages) {
      auto* const request = &requests.emplace_back(MPI_REQUEST_NULL);
      mpi_check(receive
                    ? MPI_Irecv(memory, static_cast<int>(count), mpi_type<Value>(), peer, tag, ranks.handle(), request)
                    : MPI_Isend(memory, static_cast<int>(count), mpi_type<Value>(), peer, tag, ranks.handle(), request),
                "ordered sum between nodes");
    }
  }
  static void wait_for(std::vector<MPI_Request>& requests) {
    mpi_check(MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE),
              "ordered sum between nodes");
    requests.clear();
  }
  void send_blocks(std::vector<MPI_Request>& requests) {
    for (auto const& [peer, from, count, buffer] : blocks_out) {
      Message message{peer, buffer, count * std::ssize(of_node)};
      if (!buffer) message.memory = const_cast<Value*>(node_trees[0].single()->values) + from;  // only sent
      for (std::size_t b = 0; buffer && b < of_node.size(); ++b)
        node_trees[b].sum(from, count, buffer + static_cast<std::int64_t>(b) * count);
      start({message}, blocks_tag, false, requests);
    }
  }

  void sum() {
    if (is_one_block()) return;
    Operation waiting("ordered sum");
    std::vector<MPI_Request> blocks, others;
    start(blocks_in, blocks_tag, true, blocks);
    window->fence();  // all blocks of the node are written, and nobody reads the last result any more
    start(results_in, result_tag, true, others);
    send_blocks(others);
    wait_for(blocks);
    whole->sum(slice.begin, slice.size(), result + slice.begin);
    start(results_out, result_tag, false, others);
    wait_for(others);
    window->fence();
  }
};

template <class Value>
OrderedSum<Value>::OrderedSum(Communicator const& ranks, ShardPlan const& plan, std::int64_t length, int ranks_a_node)
    : memory_(std::make_unique<Memory>(ranks, plan, length, ranks_a_node)) {}
template <class Value>
OrderedSum<Value>::~OrderedSum() = default;
template <class Value>
OrderedSum<Value>::OrderedSum(OrderedSum&&) noexcept = default;

template <class Value>
std::vector<ShardBlock> const& OrderedSum<Value>::blocks() const {
  return memory_->own;
}

template <class Value>
std::span<Value> OrderedSum<Value>::block(std::size_t i) {
  Value* const mine = memory_->piece(memory_->node.rank());
  return {mine + static_cast<std::int64_t>(i) * memory_->stride, index(memory_->length)};
}

template <class Value>
std::span<Value const> OrderedSum<Value>::sum() {
  memory_->sum();
  return {memory_->result, index(memory_->length)};
}

template <class Value>
void ShardTree<Value>::add(std::span<Value const> shard) {
  std::vector<Value> carry(shard.begin(), shard.end());
  for (std::size_t level = 0;; ++level) {
    if (level == levels_.size()) {
      levels_.emplace_back();
      full_.push_back(false);
    }
    if (!full_[level]) {
      levels_[level] = std::move(carry);
      full_[level] = true;
      return;
    }
    for (std::size_t i = 0; i < carry.size(); ++i) carry[i] = levels_[level][i] + carry[i];
    full_[level] = false;
  }
}

template <class Value>
void ShardTree<Value>::take(std::span<Value> out) {
  std::size_t const top = levels_.size() - 1;
  for (std::size_t level = 0; level < top; ++level) {
    if (full_[level])
      fail(ExitCode::failed, "a tree over shards was taken with {} levels half full (a block holds 2^k shards)", top);
  }
  std::copy(levels_[top].begin(), levels_[top].end(), out.begin());
  levels_.clear();
  full_.clear();
}

template <class Value>
std::vector<Value> ordered_sum(Communicator const& ranks, ShardPlan const& plan, std::int64_t length,
                               std::function<std::vector<Value>(int)> const& shard) {
  OrderedSum<Value> sum(ranks, plan, length);
  for (std::size_t i = 0; i < sum.blocks().size(); ++i) {
    ShardTree<Value> tree(length);
    auto const [begin, width] = sum.blocks()[i];
    for (int s = begin; s < begin + width; ++s) tree.add(shard(s));
    tree.take(sum.block(i));
  }
  auto const total = sum.sum();
  return {total.begin(), total.end()};
}

template class OrderedSum<float>;
template class OrderedSum<double>;
template class ShardTree<float>;
template class ShardTree<double>;
template std::vector<float> ordered_sum(Communicator const&, ShardPlan const&, std::int64_t,
                                        std::function<std::vector<float>(int)> const&);
template std::vector<double> ordered_sum(Communicator const&, ShardPlan const&, std::int64_t,
                                         std::function<std::vector<double>(int)> const&);

}  // namespace retort
