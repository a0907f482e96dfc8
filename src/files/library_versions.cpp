#include "retort/files/library_versions.hpp"

#include <hdf5.h>
#include <mpi.h>

#include <string>

#include "retort/run/error.hpp"

namespace retort {

void require_matching_libraries() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  if (major != H5_VERS_MAJOR || minor != H5_VERS_MINOR || release != H5_VERS_RELEASE)
    fail(ExitCode::failed,
         "HDF5 {}.{}.{} is loaded, and retort was built with {}.{}.{} (files could be damaged). Load the modules it "
         "was built with, or build again",
         major, minor, release, H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE);
  int version = 0, subversion = 0;
  MPI_Get_version(&version, &subversion);
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string const loaded(text);
#ifdef OMPI_MAJOR_VERSION
  std::string const built =
      fmt::format("Open MPI v{}.{}.{}", OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
#else
  std::string const built;  // other libraries are told apart by the standard's version alone
#endif
  if (version != MPI_VERSION || subversion != MPI_SUBVERSION || !loaded.starts_with(built))
    fail(ExitCode::failed,
         "'{}' is loaded, and retort was built with {} (MPI {}.{}). Load the modules it was built with, or build again",
         loaded.substr(0, loaded.find(',')), built, MPI_VERSION, MPI_SUBVERSION);
}

}  // namespace retort
