// Memory that the ranks of one node share.
#pragma once

#include <cstdint>
#include <vector>

#include "retort/ranks/communicator.hpp"
#include "retort/run/index.hpp"

namespace retort {

// Each rank of the node brings a piece; every rank sees all pieces. Cleared, 64-byte aligned.
class NodeWindow {
 public:
  // Collective over `node`, which must outlive the window. `bytes`: this rank's piece.
  NodeWindow(Communicator const& node, std::int64_t bytes);
  ~NodeWindow();
  NodeWindow(NodeWindow const&) = delete;
  NodeWindow& operator=(NodeWindow const&) = delete;

  // Where the piece of rank `r` of the node begins in this process.
  void* piece(int r) const { return pieces_[index(r)]; }
  // Collective over the node: what any rank wrote before is seen by all after.
  void fence() const;

 private:
  Communicator const& node_;
  MPI_Win window_ = MPI_WIN_NULL;
  std::vector<void*> pieces_;
};

}  // namespace retort
