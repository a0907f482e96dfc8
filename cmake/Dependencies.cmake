# Finds what retort builds on; a missing package stops here with its name and the command that installs it.

find_program(CCACHE ccache)
if(CCACHE)
  # Depend mode and these liberties let ccache work with a precompiled header without preprocessing every source first.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_DEPEND=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()

function(require_found found what command)
  if(NOT ${found})
    message(FATAL_ERROR "${what} was not found. Install it: ${command} (or load your site's module for it).")
  endif()
endfunction()

# --- MPI --------------------------------------------------------------------------------------------------------------
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI COMPONENTS C CXX)
require_found(MPI_CXX_FOUND "MPI" "apt-get install libopenmpi-dev openmpi-bin")

# --- parallel HDF5 ----------------------------------------------------------------------------------------------------
set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 COMPONENTS C)
require_found(HDF5_FOUND "Parallel HDF5" "apt-get install libhdf5-openmpi-dev")
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "The HDF5 found (${HDF5_C_LIBRARIES}) is serial, and ranks write one file together. "
                      "Install a parallel one: apt-get install libhdf5-openmpi-dev (or set HDF5_ROOT).")
endif()
include(CheckCXXSourceRuns)
set(CMAKE_REQUIRED_LIBRARIES ${HDF5_C_LIBRARIES} MPI::MPI_CXX)
set(CMAKE_REQUIRED_INCLUDES ${HDF5_C_INCLUDE_DIRS})
set(CMAKE_REQUIRED_DEFINITIONS ${HDF5_C_DEFINITIONS} -DOMPI_SKIP_MPICXX -DMPICH_SKIP_MPICXX)
check_cxx_source_runs("
  #include <hdf5.h>
  #include <mpi.h>
  int main() {  // the property list keeps the communicator only if both libraries mean the same MPI
    MPI_Init(nullptr, nullptr);
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    bool ok = H5Pset_fapl_mpio(list, MPI_COMM_SELF, MPI_INFO_NULL) >= 0;
    MPI_Comm communicator = MPI_COMM_NULL; MPI_Info info = MPI_INFO_NULL;
    ok = ok && H5Pget_fapl_mpio(list, &communicator, &info) >= 0;
    int size = 0;
    ok = ok && MPI_Comm_size(communicator, &size) == MPI_SUCCESS && size == 1;
    MPI_Finalize();
    return !ok;
  }" RETORT_HDF5_MATCHES_MPI)
unset(CMAKE_REQUIRED_LIBRARIES)
unset(CMAKE_REQUIRED_INCLUDES)
unset(CMAKE_REQUIRED_DEFINITIONS)
if(NOT RETORT_HDF5_MATCHES_MPI)
  message(FATAL_ERROR "HDF5 (${HDF5_C_LIBRARIES}) was built for another MPI than ${MPI_CXX_COMPILER}. "
                      "Install a matching pair: apt-get install libopenmpi-dev libhdf5-openmpi-dev.")
endif()

# --- Boost, fmt, JSON, Random123, xxHash -----------------------------------------------------------------------------
find_package(Boost 1.74 COMPONENTS program_options)
require_found(Boost_FOUND "Boost.Program_options" "apt-get install libboost-program-options-dev")
find_package(fmt)
require_found(fmt_FOUND "fmt" "apt-get install libfmt-dev")
find_package(nlohmann_json)
require_found(nlohmann_json_FOUND "nlohmann-json" "apt-get install nlohmann-json3-dev")
find_path(RANDOM123_INCLUDE Random123/philox.h)
require_found(RANDOM123_INCLUDE "Random123" "apt-get install librandom123-dev")
find_path(XXHASH_INCLUDE xxhash.h)
require_found(XXHASH_INCLUDE "xxHash" "apt-get install libxxhash-dev")
# UMAP for the report, of headers alone (umappp, knncolle and what they include, each with its licence beside it in the
# wheel).
file(GLOB wheel_headers ${CMAKE_SOURCE_DIR}/build/python/lib/python3*/site-packages/assorthead/include)
find_path(UMAPPP_INCLUDE umappp/umappp.hpp HINTS ${wheel_headers} $ENV{UMAPPP_INCLUDE})
require_found(UMAPPP_INCLUDE "umappp"
              "tools/setup, or build/python/bin/pip install --no-deps assorthead==0.2.2, or set UMAPPP_INCLUDE")
if(RETORT_TESTS)
  find_package(GTest)
  require_found(GTest_FOUND "GoogleTest" "apt-get install libgtest-dev")
endif()

# --- CUDA and NCCL ----------------------------------------------------------------------------------------------------
set(RETORT_USE_GPU OFF)
if(NOT RETORT_GPU STREQUAL "OFF")
  find_package(CUDAToolkit QUIET)
  find_path(NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
  if(CUDAToolkit_FOUND AND NCCL_INCLUDE AND NCCL_LIBRARY)
    set(RETORT_USE_GPU ON)
  elseif(RETORT_GPU STREQUAL "ON")
    message(FATAL_ERROR "RETORT_GPU is ON, but CUDA or NCCL was not found. "
                        "Install the CUDA toolkit and libnccl-dev, or use --preset cpu.")
  endif()
endif()

include(LibTorch)

message(STATUS "retort: MPI ${MPI_CXX_VERSION}, HDF5 ${HDF5_VERSION} (parallel), Torch ${RETORT_TORCH_VERSION}, "
               "GPU ${RETORT_USE_GPU}")
