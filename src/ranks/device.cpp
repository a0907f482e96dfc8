#include "retort/ranks/device.hpp"

#include "retort/ranks/nccl_sum.hpp"
#include "retort/run/error.hpp"

#if RETORT_USE_GPU
#include <c10/cuda/CUDAFunctions.h>
#endif

namespace retort {

c10::Device choose_device(Communicator const& ranks, std::string const& asked) {
  if (asked != "auto" && asked != "cpu" && asked != "cuda")
    fail(ExitCode::usage, "'{}' is not a value of 'run.device'. Use auto, cpu or cuda", asked);
  if (asked == "cpu") return c10::kCPU;
  int gpus = 0;
#if RETORT_USE_GPU
  gpus = c10::cuda::device_count();
#endif
  int const place = ranks.node().rank();
  bool const everywhere = ranks.min(place < gpus ? 1 : 0) == 1;
  if (!everywhere) {
    if (asked == "cuda")
      fail(ExitCode::usage, "run.device is cuda, but {} (a rank would have none). {}",
           nccl_is_built() ? "there are fewer GPUs than ranks on a node" : "this build has no CUDA",
           nccl_is_built() ? "Start one rank per GPU" : "Build with --preset gpu");
    return c10::kCPU;
  }
  c10::Device const device(c10::kCUDA, static_cast<c10::DeviceIndex>(place));
#if RETORT_USE_GPU
  c10::cuda::set_device(device.index());
#endif
  return device;
}

void require_cpu(std::string const& asked) {
  if (asked == "cuda")
    fail(ExitCode::usage, "run.device is cuda (this program computes on CPUs alone). Set it to auto or cpu");
}

}  // namespace retort
