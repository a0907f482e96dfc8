# One static library a room (design: one directory, one question) and the settings that all of them share.

add_library(retort_settings INTERFACE)
target_compile_options(retort_settings INTERFACE -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow $<$<BOOL:${RETORT_WERROR}>:-Werror>)
target_compile_definitions(retort_settings INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX ${HDF5_C_DEFINITIONS} H5_USE_110_API)
target_include_directories(retort_settings INTERFACE ${CMAKE_SOURCE_DIR}/include)
target_include_directories(retort_settings SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS} ${RANDOM123_INCLUDE} ${XXHASH_INCLUDE})
target_link_libraries(retort_settings INTERFACE retort::torch MPI::MPI_CXX ${HDF5_C_LIBRARIES} Boost::program_options
                      fmt::fmt nlohmann_json::nlohmann_json)
if(RETORT_SANITIZE)
  target_compile_options(retort_settings INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer)
  target_link_options(retort_settings INTERFACE -fsanitize=address,undefined)
endif()

# The LibTorch wheel brings headers of another fmt than the library that is linked; this folder puts the right ones first.
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

# retort_room(cells AFTER ranks): the library retort_cells of src/cells/*.cpp; the arrow points to what may be included.
function(retort_room room)
  cmake_parse_arguments(ROOM "" "" "AFTER" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${room}/*.cpp)
  if(NOT sources)
    add_library(retort_${room} INTERFACE)
    foreach(earlier IN LISTS ROOM_AFTER)
      target_link_libraries(retort_${room} INTERFACE retort_${earlier})
    endforeach()
    return()
  endif()
  add_library(retort_${room} STATIC ${sources})
  retort_precompile(retort_${room})
  target_link_libraries(retort_${room} PUBLIC retort_settings)
  foreach(earlier IN LISTS ROOM_AFTER)
    target_link_libraries(retort_${room} PUBLIC retort_${earlier})
  endforeach()
endfunction()
