#include "node_window.hpp"

#include <cstring>

#include "retort/run/index.hpp"
#include "retort/run/watchdog.hpp"

namespace retort {

namespace {
constexpr std::uintptr_t alignment = 64;
}

NodeWindow::NodeWindow(Communicator const& node, std::int64_t bytes) : node_(node) {
  Operation waiting("allocation of shared memory");
  MPI_Info info = MPI_INFO_NULL;
  mpi_check(MPI_Info_create(&info), "info");
  mpi_check(MPI_Info_set(info, "alloc_shared_noncontig", "true"), "info");
  void* own = nullptr;
  int const code = MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes) + static_cast<MPI_Aint>(alignment), 1, info,
                                           node.handle(), &own, &window_);
  MPI_Info_free(&info);
  mpi_check(code, "allocation of shared memory (is the node's shared memory full?)");
  for (int r = 0; r < node.size(); ++r) {
    MPI_Aint size = 0;
    int unit = 0;
    void* start = nullptr;
    mpi_check(MPI_Win_shared_query(window_, r, &size, &unit, &start), "query of shared memory");
    pieces_.push_back(
        reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(start) + alignment - 1) / alignment * alignment));
  }
  mpi_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, window_), "shared memory");
  std::memset(piece(node.rank()), 0, index(bytes));
}

NodeWindow::~NodeWindow() {
  if (is_unwinding_alone()) return;
  Operation waiting("release of shared memory");
  MPI_Win_unlock_all(window_);
  MPI_Win_free(&window_);
}

void NodeWindow::fence() const {
  Operation waiting("barrier of a node");
  mpi_check(MPI_Win_sync(window_), "shared memory");
  mpi_check(MPI_Barrier(node_.handle()), "barrier of a node");
  mpi_check(MPI_Win_sync(window_), "shared memory");
}

}  // namespace retort
