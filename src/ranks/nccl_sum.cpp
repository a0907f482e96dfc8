#include "retort/ranks/nccl_sum.hpp"

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/watchdog.hpp"

#if RETORT_USE_GPU
#include <c10/cuda/CUDAStream.h>
#include <nccl.h>
#endif

namespace retort {

#if RETORT_USE_GPU

namespace {
void nccl_check(ncclResult_t code, char const* operation) {
  if (code != ncclSuccess)
    fail(ExitCode::failed, "NCCL failed in '{}' ({}). Set NCCL_DEBUG=INFO to see why", operation,
         ncclGetErrorString(code));
}
}  // namespace

struct NcclSum::State {
  ncclComm_t communicator = nullptr;
  c10::cuda::CUDAStream stream = c10::cuda::getStreamFromPool(true);
};

bool nccl_is_built() { return true; }

NcclSum::NcclSum(Communicator const& ranks) : state_(std::make_unique<State>()) {
  Operation waiting("start of NCCL");
  ncclUniqueId id{};
  ranks.together([&] {
    if (ranks.is_root()) nccl_check(ncclGetUniqueId(&id), "unique id");
  });
  ranks.broadcast(std::span<char>(id.internal, sizeof id.internal));
  nccl_check(ncclCommInitRank(&state_->communicator, ranks.size(), id, ranks.rank()), "start");
}

NcclSum::~NcclSum() {
  if (state_->communicator)
    is_unwinding_alone() ? ncclCommAbort(state_->communicator) : ncclCommDestroy(state_->communicator);
}

void NcclSum::sum(at::Tensor& values) {
  Operation waiting("sum of gradients by NCCL");
  c10::cuda::getCurrentCUDAStream().synchronize();  // the gradients were written on this one
  nccl_check(ncclAllReduce(values.data_ptr(), values.data_ptr(), index(values.numel()), ncclFloat, ncclSum,
                           state_->communicator, state_->stream.stream()),
             "all-reduce");
  state_->stream.synchronize();
}

#else

struct NcclSum::State {};
bool nccl_is_built() { return false; }
NcclSum::NcclSum(Communicator const&) {
  fail(ExitCode::usage,
       "this build has no NCCL (configured without CUDA). Build with --preset gpu, or set run.device=cpu");
}
NcclSum::~NcclSum() = default;
void NcclSum::sum(at::Tensor&) {}

#endif

}  // namespace retort
