// Whether the libraries at run time are those that the programs were built with.
#pragma once

namespace retort {

// Throws Failure(failed) naming the library and both versions where MPI or HDF5 is another one than at build time (a
// module that was not loaded, a library found first), or HDF5 is not the parallel one; such pairs crash later or
// corrupt files.
void require_matching_libraries();

}  // namespace retort
