# One static library a room, of the list in src/rooms.txt, and the settings that all of them share.

add_library(retort_settings INTERFACE)
target_compile_options(retort_settings INTERFACE
  -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow $<$<BOOL:${RETORT_WERROR}>:-Werror>)
target_compile_definitions(retort_settings INTERFACE
  OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX ${HDF5_C_DEFINITIONS} H5_USE_110_API)
target_include_directories(retort_settings INTERFACE ${CMAKE_SOURCE_DIR}/include)
target_include_directories(retort_settings SYSTEM INTERFACE
  ${HDF5_C_INCLUDE_DIRS} ${RANDOM123_INCLUDE} ${XXHASH_INCLUDE})
target_link_libraries(retort_settings INTERFACE retort::torch MPI::MPI_CXX ${HDF5_C_LIBRARIES} Boost::program_options
                      fmt::fmt nlohmann_json::nlohmann_json)
if(RETORT_ASSERTIONS)
  target_compile_definitions(retort_settings INTERFACE RETORT_ASSERTIONS=1)
endif()
if(RETORT_SANITIZE)
  target_compile_options(retort_settings INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(retort_settings INTERFACE -fsanitize=address,undefined)
endif()

# The LibTorch wheel brings headers of another fmt than the library that is linked; this folder puts the right ones
# first.
# (Header-only fmt would work with either, at 3 s a source.)
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/fmt_first)
file(CREATE_LINK ${fmt_include}/fmt ${CMAKE_BINARY_DIR}/fmt_first/fmt SYMBOLIC)
target_include_directories(retort_settings SYSTEM BEFORE INTERFACE ${CMAKE_BINARY_DIR}/fmt_first)

# The one precompiled header: a source loads it in 2 s where it would parse ATen and autograd in 10.
add_library(retort_precompiled OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cpp)
target_link_libraries(retort_precompiled PRIVATE retort_settings)
target_precompile_headers(retort_precompiled PRIVATE ${CMAKE_SOURCE_DIR}/cmake/precompiled.hpp)

function(retort_precompile target)
  target_link_libraries(${target} PRIVATE retort_settings)
  target_precompile_headers(${target} REUSE_FROM retort_precompiled)
endfunction()

# Sources of a room are compiled eight at a time: loading the precompiled header is most of what one costs. Not where
# their own constants and functions share names, nor where code is tuned by the compiler file by file.
option(RETORT_UNITY "compile the sources of a room together" ON)
set(rooms_compiled_apart kernels layers models report)

# retort_rooms(rooms.txt mains): one library per room, of src/<room>/*.cpp, linked to the rooms of the floor below (and
# so to all below). Of programs the sources that have a header make up the library; `mains` is set to the others.
function(retort_rooms list mains_variable)
  file(STRINGS ${list} floors REGEX "^[a-z]")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
  set(below)
  foreach(floor IN LISTS floors)
    separate_arguments(rooms UNIX_COMMAND "${floor}")
    set(libraries)
    foreach(room IN LISTS rooms)
      file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${room}/*.cpp)
      if(room STREQUAL "programs")
        set(parts)
        foreach(source IN LISTS sources)
          cmake_path(GET source STEM stem)
          if(EXISTS ${CMAKE_SOURCE_DIR}/include/retort/programs/${stem}.hpp)
            list(APPEND parts ${source})
          endif()
        endforeach()
        list(REMOVE_ITEM sources ${parts})
        set(${mains_variable} ${sources} PARENT_SCOPE)
        set(sources ${parts})
      endif()
      add_library(retort_${room} STATIC ${sources})
      retort_precompile(retort_${room})
      target_link_libraries(retort_${room} PUBLIC retort_settings ${below})
      if(NOT room IN_LIST rooms_compiled_apart)
        set_target_properties(retort_${room} PROPERTIES UNITY_BUILD ${RETORT_UNITY} UNITY_BUILD_BATCH_SIZE 8)
        # The compiler takes an included source for a header.
        target_compile_options(retort_${room} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
      endif()
      list(APPEND libraries retort_${room})
    endforeach()
    set(below ${libraries})
  endforeach()
endfunction()
