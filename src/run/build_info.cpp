#include "retort/run/build_info.hpp"

#include <fmt/format.h>
#include <hdf5.h>
#include <torch/version.h>

#include <fstream>

namespace retort {

std::string version() { return fmt::format("{} (commit {})", RETORT_VERSION, RETORT_COMMIT); }

std::string cpu_model() {
  std::ifstream stream("/proc/cpuinfo");
  std::string model = "unknown", features;
  for (std::string line; std::getline(stream, line) && !line.empty();) {
    if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
    if (line.starts_with("flags")) {
      for (char const* feature : {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}) {
        if (line.find(std::string(" ") + feature) != std::string::npos) features += std::string(" ") + feature;
      }
    }
  }
  return model + features;
}

std::string build_info() {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  std::string library(mpi);
  library = library.substr(0, library.find(','));
#if RETORT_USE_GPU
  char const* gpu = "CUDA and NCCL";
#else
  char const* gpu = "none";
#endif
  return fmt::format("retort {}\ncompiler {}\nMPI {}\nHDF5 {}.{}.{}\nLibTorch {}\nGPU {}\nCPU {}\n", version(),
                     __VERSION__, library, H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE, TORCH_VERSION, gpu,
                     cpu_model());
}

}  // namespace retort
