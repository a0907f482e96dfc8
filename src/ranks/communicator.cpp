#include "retort/ranks/communicator.hpp"

#include <unistd.h>

#include <atomic>
#include <exception>
#include <limits>
#include <numeric>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/watchdog.hpp"

namespace retort {
namespace {

// MPI counts are int: longer messages travel in pieces of this many elements.
constexpr std::int64_t largest_piece = std::int64_t{1} << 30;

std::atomic<bool> fails_together{false};

MPI_Comm duplicate(MPI_Comm of) {
  Operation waiting("duplicate of a communicator");
  MPI_Comm copy = MPI_COMM_NULL;
  mpi_check(MPI_Comm_dup(of, &copy), "duplicate of a communicator");
  MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN);
  return copy;
}

}  // namespace

bool is_unwinding_alone() { return std::uncaught_exceptions() > 0 && !fails_together; }
void all_ranks_fail() { fails_together = true; }

void mpi_check(int code, char const* operation) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail(ExitCode::failed, "MPI failed in '{}' ({}). Another rank or the network may be down", operation, text);
}

template <>
MPI_Datatype mpi_type<char>() {
  return MPI_CHAR;
}
template <>
MPI_Datatype mpi_type<std::int8_t>() {
  return MPI_INT8_T;
}
template <>
MPI_Datatype mpi_type<std::uint8_t>() {
  return MPI_UINT8_T;
}
template <>
MPI_Datatype mpi_type<std::uint16_t>() {
  return MPI_UINT16_T;
}
template <>
MPI_Datatype mpi_type<std::int32_t>() {
  return MPI_INT32_T;
}
template <>
MPI_Datatype mpi_type<std::uint32_t>() {
  return MPI_UINT32_T;
}
template <>
MPI_Datatype mpi_type<std::int64_t>() {
  return MPI_INT64_T;
}
template <>
MPI_Datatype mpi_type<std::uint64_t>() {
  return MPI_UINT64_T;
}
template <>
MPI_Datatype mpi_type<float>() {
  return MPI_FLOAT;
}
template <>
MPI_Datatype mpi_type<double>() {
  return MPI_DOUBLE;
}

Communicator::Communicator(MPI_Comm owned) : handle_(owned) {
  mpi_check(MPI_Comm_rank(handle_, &rank_), "rank");
  mpi_check(MPI_Comm_size(handle_, &size_), "size");
}
Communicator::Communicator(Communicator&& other) noexcept
    : handle_(other.handle_), rank_(other.rank_), size_(other.size_) {
  other.handle_ = MPI_COMM_NULL;
}
Communicator::~Communicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (handle_ == MPI_COMM_NULL || finalized || is_unwinding_alone()) return;
  Operation waiting("release of a communicator");
  MPI_Comm_free(&handle_);
}
Communicator Communicator::world() { return Communicator(duplicate(MPI_COMM_WORLD)); }
Communicator Communicator::serial() { return Communicator(duplicate(MPI_COMM_SELF)); }

void Communicator::barrier() const {
  Operation waiting("barrier");
  mpi_check(MPI_Barrier(handle_), "barrier");
}

Communicator Communicator::node(int at_most) const {
  Operation waiting("split into nodes");
  MPI_Comm node = MPI_COMM_NULL;
  mpi_check(MPI_Comm_split_type(handle_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node), "split into nodes");
  MPI_Comm_set_errhandler(node, MPI_ERRORS_RETURN);
  Communicator whole(node);
  if (at_most <= 0) return whole;
  MPI_Comm group = MPI_COMM_NULL;
  mpi_check(MPI_Comm_split(whole.handle(), whole.rank() / at_most, whole.rank(), &group), "split of a node");
  MPI_Comm_set_errhandler(group, MPI_ERRORS_RETURN);
  return Communicator(group);
}

namespace {
template <class Value>
Value reduce(MPI_Comm handle, Value value, MPI_Op operation, char const* name) {
  Operation waiting(name);
  Value result{};
  mpi_check(MPI_Allreduce(&value, &result, 1, mpi_type<Value>(), operation, handle), name);
  return result;
}
}  // namespace

template <class Value>
Value Communicator::sum(Value value) const {
  return reduce(handle_, value, MPI_SUM, "sum");
}
template <class Value>
Value Communicator::max(Value value) const {
  return reduce(handle_, value, MPI_MAX, "maximum");
}
template <class Value>
Value Communicator::min(Value value) const {
  return reduce(handle_, value, MPI_MIN, "minimum");
}

template <class Value>
void Communicator::sum(std::span<Value> values) const {
  Operation waiting("sum of an array");
  for (std::int64_t at = 0; at < std::ssize(values); at += largest_piece) {
    auto const count = static_cast<int>(std::min(largest_piece, std::ssize(values) - at));
    mpi_check(MPI_Allreduce(MPI_IN_PLACE, values.data() + at, count, mpi_type<Value>(), MPI_SUM, handle_),
              "sum of an array");
  }
}

template <class Value>
void Communicator::broadcast(std::span<Value> values, int root) const {
  Operation waiting("broadcast");
  for (std::int64_t at = 0; at < std::ssize(values); at += largest_piece) {
    auto const count = static_cast<int>(std::min(largest_piece, std::ssize(values) - at));
    mpi_check(MPI_Bcast(values.data() + at, count, mpi_type<Value>(), root, handle_), "broadcast");
  }
}

void Communicator::broadcast(std::string& text, int root) const {
  std::int64_t length = std::ssize(text);
  broadcast(std::span(&length, 1), root);
  text.resize(index(length));
  broadcast(std::span(text.data(), text.size()), root);
}

template <class Value>
std::vector<Value> Communicator::gather(Value value) const {
  Operation waiting("gather");
  std::vector<Value> all(index(size_));
  mpi_check(MPI_Allgather(&value, 1, mpi_type<Value>(), all.data(), 1, mpi_type<Value>(), handle_), "gather");
  return all;
}

template <class Value>
std::vector<Value> Communicator::gather(std::span<Value const> values) const {
  auto const lengths = gather(static_cast<std::int64_t>(values.size()));
  std::vector<Value> all(index(std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0})));
  std::size_t at = 0;
  for (int root = 0; root < size_; ++root) {  // a broadcast a rank: any length, and no int displacements
    auto const length = index(lengths[index(root)]);
    if (root == rank_) std::copy(values.begin(), values.end(), all.begin() + static_cast<std::ptrdiff_t>(at));
    broadcast(std::span(all.data() + at, length), root);
    at += length;
  }
  return all;
}

std::vector<std::string> Communicator::gather(std::string const& text) const {
  auto const lengths = gather(static_cast<std::int64_t>(text.size()));
  auto const all = gather(std::span<char const>(text.data(), text.size()));
  std::vector<std::string> texts;
  auto begin = all.begin();
  for (auto const length : lengths) {
    texts.emplace_back(begin, begin + length);
    begin += length;
  }
  return texts;
}

template <class Value>
std::vector<Value> Communicator::exchange(std::vector<std::vector<Value>> const& to) const {
  Operation waiting("exchange between ranks");
  auto const ranks = index(size_);
  std::vector<std::int64_t> send(ranks), receive(ranks);
  for (std::size_t r = 0; r < ranks; ++r) send[r] = std::ssize(to[r]);
  mpi_check(MPI_Alltoall(send.data(), 1, MPI_INT64_T, receive.data(), 1, MPI_INT64_T, handle_), "exchange of sizes");
  std::vector<Value> received(index(std::accumulate(receive.begin(), receive.end(), std::int64_t{0})));
  std::vector<MPI_Request> requests;
  std::int64_t at = 0;
  constexpr int tag = 11;
  for (std::size_t r = 0; r < ranks; at += receive[r], ++r) {
    for (std::int64_t piece = 0; piece < receive[r]; piece += largest_piece) {
      auto const count = static_cast<int>(std::min(largest_piece, receive[r] - piece));
      mpi_check(MPI_Irecv(received.data() + at + piece, count, mpi_type<Value>(), static_cast<int>(r), tag, handle_,
                          &requests.emplace_back()),
                "exchange");
    }
  }
  for (std::size_t step = 0; step < ranks; ++step) {  // each rank begins with another peer, so that none is flooded
    std::size_t const r = (index(rank_) + step) % ranks;
    for (std::int64_t piece = 0; piece < send[r]; piece += largest_piece) {
      auto const count = static_cast<int>(std::min(largest_piece, send[r] - piece));
      mpi_check(MPI_Isend(to[r].data() + piece, count, mpi_type<Value>(), static_cast<int>(r), tag, handle_,
                          &requests.emplace_back()),
                "exchange");
    }
  }
  mpi_check(MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE), "exchange");
  return received;
}

void Communicator::run_together(std::function<void()> const& work) const {
  std::string text;
  int code = 0;
  try {
    work();
  } catch (Failure const& failure) {
    text = failure.what();
    code = static_cast<int>(failure.code);
    if (failure.agreed) throw;  // work was collective after all, and every rank is here with the same failure
  } catch (std::exception const& error) {
    text = error.what();
    code = static_cast<int>(ExitCode::failed);
  }
  Operation waiting("agreement on a failure");
  int const first = min(code ? rank_ : std::numeric_limits<int>::max());
  if (first == std::numeric_limits<int>::max()) return;
  broadcast(text, first);
  broadcast(std::span(&code, 1), first);
  std::string host = host_name();
  broadcast(host, first);
  all_ranks_fail();
  Failure failure(static_cast<ExitCode>(code), text);
  failure.agreed = true;
  failure.first_rank = first;
  failure.first_host = host;
  throw failure;
}

bool Communicator::same_on_all_ranks(std::uint64_t value) const { return min(value) == max(value); }

std::string host_name() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  std::string name(host);
  return name.substr(0, name.find('.'));
}

#define RETORT_REDUCIBLE(Value)                  \
  template Value Communicator::sum(Value) const; \
  template Value Communicator::max(Value) const; \
  template Value Communicator::min(Value) const; \
  template void Communicator::sum(std::span<Value>) const;
#define RETORT_MOVABLE(Value)                                                     \
  template void Communicator::broadcast(std::span<Value>, int) const;             \
  template std::vector<Value> Communicator::gather(Value) const;                  \
  template std::vector<Value> Communicator::gather(std::span<Value const>) const; \
  template std::vector<Value> Communicator::exchange(std::vector<std::vector<Value>> const&) const;
RETORT_REDUCIBLE(int)
RETORT_REDUCIBLE(std::uint32_t)
RETORT_REDUCIBLE(std::int64_t)
RETORT_REDUCIBLE(std::uint64_t)
RETORT_REDUCIBLE(float)
RETORT_REDUCIBLE(double)
RETORT_MOVABLE(char)
RETORT_MOVABLE(std::uint8_t)
RETORT_MOVABLE(std::uint16_t)
RETORT_MOVABLE(int)
RETORT_MOVABLE(std::uint32_t)
RETORT_MOVABLE(std::int64_t)
RETORT_MOVABLE(std::uint64_t)
RETORT_MOVABLE(float)
RETORT_MOVABLE(double)

}  // namespace retort
