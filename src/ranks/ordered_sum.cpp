#include "retort/ranks/ordered_sum.hpp"

#include <bit>
#include <cstring>

#include "retort/run/error.hpp"
#include "retort/run/watchdog.hpp"

namespace retort {
namespace {

constexpr std::size_t alignment_bytes = 64;

template <class Value>
std::int64_t padded(std::int64_t length) {
  auto const step = static_cast<std::int64_t>(alignment_bytes / sizeof(Value));
  return (length + step - 1) / step * step;
}

// Where the block (begin, width) of any rank lies: its first element, or null when the block is cut further.
template <class Value>
using FindBlock = std::function<Value const*(int begin, int width)>;

// out = sum over shards [begin, begin + width) of elements [from, from + count), by the fixed tree.
template <class Value>
void sum_tree(FindBlock<Value> const& find, int begin, int width, std::int64_t from, std::int64_t count, Value* out,
              std::vector<std::vector<Value>>& scratch, std::size_t depth) {
  if (Value const* block = find(begin, width)) {
    std::memcpy(out, block + from, static_cast<std::size_t>(count) * sizeof(Value));
    return;
  }
  if (scratch.size() <= depth) scratch.resize(depth + 1);
  if (std::ssize(scratch[depth]) < count) scratch[depth].resize(static_cast<std::size_t>(count));
  sum_tree(find, begin, width / 2, from, count, out, scratch, depth + 1);
  Value* right = scratch[depth].data();
  if (Value const* block = find(begin + width / 2, width / 2)) {
    for (std::int64_t i = 0; i < count; ++i) out[i] += block[from + i];
    return;
  }
  sum_tree(find, begin + width / 2, width / 2, from, count, right, scratch, depth + 1);
  for (std::int64_t i = 0; i < count; ++i) out[i] += right[i];
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

template <class Value>
struct OrderedSum<Value>::Memory {
  Communicator const& ranks;
  ShardPlan plan;
  std::int64_t length, stride;                  // stride: length padded to 64 bytes
  std::vector<ShardBlock> own;
  std::vector<std::vector<ShardBlock>> of_rank;
  bool one_node;
  MPI_Win window = MPI_WIN_NULL;                // one node: every rank's blocks, and rank 0's result
  std::vector<Value*> base;                     // one node: where each rank's blocks begin in this process
  Value* result = nullptr;
  std::vector<Value> own_memory;                // several nodes
  std::vector<std::vector<Value>> scratch;

  Memory(Communicator const& all, ShardPlan const& shards, std::int64_t elements, bool shared_memory)
      : ranks(all), plan(shards), length(elements), stride(padded<Value>(elements)), own(shard_blocks(shards.begin(), shards.end())) {
    for (int r = 0; r < all.size(); ++r) of_rank.push_back(shard_blocks(plan.begin_of(r), plan.begin_of(r + 1)));
    one_node = all.node().size() == all.size() && shared_memory;
    one_node ? allocate_window() : allocate_private();
  }
  ~Memory() {
    if (window != MPI_WIN_NULL && !is_unwinding_alone()) {
      MPI_Win_unlock_all(window);
      MPI_Win_free(&window);
    }
  }

  void allocate_window() {
    Operation waiting("allocation of shared memory");
    std::size_t const vectors = own.size() + (ranks.is_root() ? 1 : 0);
    auto const bytes = static_cast<MPI_Aint>(vectors * static_cast<std::size_t>(stride) * sizeof(Value) + alignment_bytes);
    MPI_Info info = MPI_INFO_NULL;
    mpi_check(MPI_Info_create(&info), "info");
    mpi_check(MPI_Info_set(info, "alloc_shared_noncontig", "true"), "info");
    void* memory = nullptr;
    int const code = MPI_Win_allocate_shared(bytes, 1, info, ranks.handle(), &memory, &window);
    MPI_Info_free(&info);
    mpi_check(code, "allocation of shared memory (is the node's shared memory full?)");
    for (int r = 0; r < ranks.size(); ++r) {
      MPI_Aint size = 0;
      int unit = 0;
      void* start = nullptr;
      mpi_check(MPI_Win_shared_query(window, r, &size, &unit, &start), "query of shared memory");
      auto const address = (reinterpret_cast<std::uintptr_t>(start) + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
      base.push_back(reinterpret_cast<Value*>(address));
    }
    result = base[0] + static_cast<std::int64_t>(of_rank[0].size()) * stride;
    mpi_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, window), "shared memory");
    std::memset(base[static_cast<std::size_t>(ranks.rank())], 0, vectors * static_cast<std::size_t>(stride) * sizeof(Value));
  }
  void allocate_private() {
    auto const step = static_cast<std::int64_t>(alignment_bytes / sizeof(Value));
    own_memory.assign(static_cast<std::size_t>((std::ssize(own) + 1) * stride + step), Value{});
    auto const address = (reinterpret_cast<std::uintptr_t>(own_memory.data()) + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
    base.assign(static_cast<std::size_t>(ranks.size()), nullptr);
    base[static_cast<std::size_t>(ranks.rank())] = reinterpret_cast<Value*>(address);
    result = base[static_cast<std::size_t>(ranks.rank())] + std::ssize(own) * stride;
  }

  // The block (begin, width) in memory that `where` maps a rank's blocks to.
  Value const* locate(std::vector<Value const*> const& where, std::int64_t step, int begin, int width) const {
    for (std::size_t r = 0; r < of_rank.size(); ++r) {
      for (std::size_t i = 0; i < of_rank[r].size(); ++i) {
        if (of_rank[r][i].begin == begin && of_rank[r][i].width == width) return where[r] + static_cast<std::int64_t>(i) * step;
      }
    }
    return nullptr;
  }

  void sum_in_window() {
    Operation waiting("ordered sum in shared memory");
    mpi_check(MPI_Win_sync(window), "shared memory");
    mpi_check(MPI_Barrier(ranks.handle()), "ordered sum");
    mpi_check(MPI_Win_sync(window), "shared memory");
    auto const slice = share_of(stride, ranks.rank(), ranks.size(), static_cast<std::int64_t>(alignment_bytes / sizeof(Value)));
    std::vector<Value const*> const where(base.begin(), base.end());
    FindBlock<Value> const find = [&](int begin, int width) { return locate(where, stride, begin, width); };
    constexpr std::int64_t piece = 16384;  // stays in the first-level caches while the tree walks over it
    for (std::int64_t from = slice.begin; from < slice.end; from += piece) {
      sum_tree(find, 0, plan.shards(), from, std::min(piece, slice.end - from), result + from, scratch, 0);
    }
    mpi_check(MPI_Win_sync(window), "shared memory");
    mpi_check(MPI_Barrier(ranks.handle()), "ordered sum");
    mpi_check(MPI_Win_sync(window), "shared memory");
  }

  // Between nodes: each rank gets its slice of every block, sums it by the same tree, and the slices are gathered.
  void sum_by_exchange() {
    std::vector<std::vector<Value>> to(static_cast<std::size_t>(ranks.size()));
    Value const* mine = base[static_cast<std::size_t>(ranks.rank())];
    for (int r = 0; r < ranks.size(); ++r) {
      auto const slice = share_of(stride, r, ranks.size());
      for (std::int64_t i = 0; i < std::ssize(own); ++i) {
        to[static_cast<std::size_t>(r)].insert(to[static_cast<std::size_t>(r)].end(), mine + i * stride + slice.begin, mine + i * stride + slice.end);
      }
    }
    auto const received = ranks.exchange(to);
    auto const slice = share_of(stride, ranks.rank(), ranks.size());
    std::vector<Value const*> where;
    std::int64_t at = 0;
    for (auto const& blocks : of_rank) {
      where.push_back(received.data() + at);
      at += std::ssize(blocks) * slice.size();
    }
    FindBlock<Value> const find = [&](int begin, int width) { return locate(where, slice.size(), begin, width); };
    std::vector<Value> summed(static_cast<std::size_t>(slice.size()));
    sum_tree(find, 0, plan.shards(), 0, slice.size(), summed.data(), scratch, 0);
    auto const all = ranks.gather(std::span<Value const>(summed));
    std::copy(all.begin(), all.end(), result);
  }
};

template <class Value>
OrderedSum<Value>::OrderedSum(Communicator const& ranks, ShardPlan const& plan, std::int64_t length, bool shared_memory)
    : memory_(std::make_unique<Memory>(ranks, plan, length, shared_memory)) {}
template <class Value>
OrderedSum<Value>::~OrderedSum() = default;
template <class Value>
OrderedSum<Value>::OrderedSum(OrderedSum&&) noexcept = default;

template <class Value>
std::vector<ShardBlock> const& OrderedSum<Value>::blocks() const { return memory_->own; }

template <class Value>
std::span<Value> OrderedSum<Value>::block(std::size_t i) {
  Value* const mine = memory_->base[static_cast<std::size_t>(memory_->ranks.rank())];
  return {mine + static_cast<std::int64_t>(i) * memory_->stride, static_cast<std::size_t>(memory_->length)};
}

template <class Value>
std::span<Value const> OrderedSum<Value>::sum() {
  memory_->one_node ? memory_->sum_in_window() : memory_->sum_by_exchange();
  return {memory_->result, static_cast<std::size_t>(memory_->length)};
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
    if (full_[level]) fail(ExitCode::failed, "a tree over shards was taken with {} levels half full (a block holds 2^k shards)", top);
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
template std::vector<float> ordered_sum(Communicator const&, ShardPlan const&, std::int64_t, std::function<std::vector<float>(int)> const&);
template std::vector<double> ordered_sum(Communicator const&, ShardPlan const&, std::int64_t, std::function<std::vector<double>(int)> const&);

}  // namespace retort
