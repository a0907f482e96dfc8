// Sums of device arrays by NCCL, for ranks that have a GPU each.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "retort/ranks/communicator.hpp"

namespace retort {

// Whether this build has NCCL.
bool nccl_is_built();

// The id is broadcast over MPI. Sums are equal on every rank and, with NCCL_NVLS_ENABLE=0 and a fixed NCCL_ALGO, on
// every rerun; they are not the fixed tree of OrderedSum, so their bits change with the number of ranks.
class NcclSum {
 public:
  // Collective; the current device must be this rank's GPU. Throws Failure(failed) with NCCL's text.
  explicit NcclSum(Communicator const& ranks);
  ~NcclSum();
  // Collective: sums the contiguous float32 device tensor over ranks in place, on its own stream, and waits.
  void sum(at::Tensor& values);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
