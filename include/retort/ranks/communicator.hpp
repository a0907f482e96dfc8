// How ranks talk. A serial communicator is MPI_COMM_SELF: size 1, every sum the identity, so no caller asks `if (mpi)`.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace retort {

// Throws Failure(failed) with MPI's own text when `code` is not MPI_SUCCESS.
void mpi_check(int code, char const* operation);

template <class Value>
MPI_Datatype mpi_type();

// Whether a failure that other ranks do not share unwinds this one: then a destructor must leak what only all ranks can
// end together (windows, parallel files), or the rank waits for ever before its error line is out.
bool is_unwinding_alone();
// Said before a failure is thrown that all ranks throw.
void all_ranks_fail();

// Every member that says collective must be called by every rank, in the same order. A rank that waits longer than the
// deadline of the Watchdog ends with its operation's name.
class Communicator {
 public:
  // The world must have been initialised (Session does it). Both are duplicates, private to retort.
  static Communicator world();
  static Communicator serial();
  explicit Communicator(MPI_Comm owned);
  Communicator(Communicator&& other) noexcept;
  Communicator& operator=(Communicator&&) = delete;
  ~Communicator();

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_root() const { return rank_ == 0; }
  MPI_Comm handle() const { return handle_; }

  // Collective.
  void barrier() const;
  // Collective: the ranks of this node, in rank order; with `at_most`, those of them in this rank's group of so many.
  Communicator node(int at_most = 0) const;

  // Collective. For floating-point sums whose bits must not depend on the rank count use OrderedSum.
  template <class Value>
  Value sum(Value value) const;
  template <class Value>
  Value max(Value value) const;
  template <class Value>
  Value min(Value value) const;
  template <class Value>
  void sum(std::span<Value> values) const;

  // Collective. Spans of any length (sent in pieces below 2^31 elements).
  template <class Value>
  void broadcast(std::span<Value> values, int root = 0) const;
  // Collective: `text` of root replaces the others'.
  void broadcast(std::string& text, int root = 0) const;

  // Collective: one value of each rank, in rank order, on all ranks.
  template <class Value>
  std::vector<Value> gather(Value value) const;
  // Collective: the concatenation over ranks in rank order, on all ranks. Lengths may differ and may be zero.
  template <class Value>
  std::vector<Value> gather(std::span<Value const> values) const;
  // Collective: texts of all ranks, in rank order, on all ranks.
  std::vector<std::string> gather(std::string const& text) const;
  // Collective: rank r receives to[r] of every rank, concatenated in rank order; any lengths, past 2^31 bytes too.
  template <class Value>
  std::vector<Value> exchange(std::vector<std::vector<Value>> const& to) const;

  // Collective: runs `work` on every rank and returns what it returns there; where it throws on any, all throw the
  // failure of the lowest such rank, marked as agreed. For faults that ranks may see alone: a file, a row of one rank's
  // share. `work` must not be collective; what it returns must be movable.
  template <class Work>
  std::invoke_result_t<Work const&> together(Work const& work) const;
  // Collective: whether the value is the same everywhere.
  bool same_on_all_ranks(std::uint64_t value) const;

 private:
  void run_together(std::function<void()> const& work) const;

  MPI_Comm handle_;
  int rank_ = 0, size_ = 1;
};

template <class Work>
std::invoke_result_t<Work const&> Communicator::together(Work const& work) const {
  using Value = std::invoke_result_t<Work const&>;
  if constexpr (std::is_void_v<Value>) {
    run_together(std::cref(work));
  } else {
    std::optional<Value> value;
    run_together([&] { value.emplace(work()); });
    return *std::move(value);
  }
}

// This host's name, without the domain.
std::string host_name();

}  // namespace retort
