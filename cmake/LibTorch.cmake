# LibTorch as the target retort::torch: the user's Torch_DIR, or the torch wheel in build/python.
#
# find_package(Torch) of a CUDA wheel refuses a machine without the CUDA toolkit and drags the CUDA language in, so the
# CPU build links the wheel's libtorch_cpu through a target of our own.

if(DEFINED ENV{Torch_DIR} AND NOT Torch_DIR)
  set(Torch_DIR $ENV{Torch_DIR})
endif()
if(Torch_DIR)
  cmake_path(SET torch_root NORMALIZE "${Torch_DIR}/../../..")
else()
  file(GLOB torch_root ${CMAKE_SOURCE_DIR}/build/python/lib/python3*/site-packages/torch)
endif()
if(NOT EXISTS "${torch_root}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch was not found (looked in '${torch_root}'). Install it: tools/setup, or "
                      "python3 -m venv build/python && build/python/bin/pip install --no-deps torch==2.11.0, "
                      "or set Torch_DIR.")
endif()
file(GLOB version_header ${torch_root}/include/torch/headeronly/version.h)
if(NOT version_header)  # LibTorch before 2.9
  set(version_header ${torch_root}/include/torch/csrc/api/include/torch/version.h)
endif()
file(STRINGS ${version_header} version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3"
       RETORT_TORCH_VERSION "${version_lines}")

# Our code and LibTorch must agree on the C++ ABI of std::string.
execute_process(COMMAND nm -DC ${torch_root}/lib/libc10.so OUTPUT_VARIABLE torch_symbols ERROR_QUIET)
if(torch_symbols AND NOT torch_symbols MATCHES "__cxx11::basic_string")
  message(FATAL_ERROR "LibTorch in '${torch_root}' uses the old C++ ABI, and this compiler the new one. "
                      "Use the torch 2.11.0 wheel, or a LibTorch built with _GLIBCXX_USE_CXX11_ABI=1.")
endif()

add_library(retort_torch INTERFACE)
add_library(retort::torch ALIAS retort_torch)
target_include_directories(retort_torch SYSTEM INTERFACE
  ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
target_link_libraries(retort_torch INTERFACE ${torch_root}/lib/libtorch_cpu.so ${torch_root}/lib/libc10.so)
set(torch_rpath ${torch_root}/lib)
cmake_path(GET torch_root PARENT_PATH site_packages)
file(GLOB wheel_libraries ${site_packages}/nvidia/*/lib)
list(APPEND torch_rpath ${wheel_libraries})
if(RETORT_USE_GPU)
  target_include_directories(retort_torch SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} ${NCCL_INCLUDE})
  # --no-as-needed: nothing of ours names a symbol of libtorch_cuda, which registers the CUDA device when it is loaded.
  target_link_libraries(retort_torch INTERFACE
    "-Wl,--no-as-needed,${torch_root}/lib/libtorch_cuda.so,--as-needed" ${torch_root}/lib/libc10_cuda.so
    ${NCCL_LIBRARY} CUDA::cudart)
  target_compile_definitions(retort_torch INTERFACE RETORT_USE_GPU=1)
endif()
set(CMAKE_BUILD_RPATH ${torch_rpath})
set(CMAKE_INSTALL_RPATH ${torch_rpath})
add_link_options(-Wl,-rpath-link,${torch_root}/lib)
foreach(folder IN LISTS wheel_libraries)
  add_link_options(-Wl,-rpath-link,${folder})
endforeach()
