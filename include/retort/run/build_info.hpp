// Which build this is: the text of --version and of build.txt.
#pragma once

#include <string>

namespace retort {

// One `name value` a line: retort, commit, compiler, build, MPI, HDF5, LibTorch, GPU, CPU model, threads.
std::string build_info();
// "0.2.0 (commit 1a2b3c4)".
std::string version();
// The CPU's model and vector features, which bit-equal reruns share.
std::string cpu_model();

}  // namespace retort
