// The types that h5py reads as str and bool, and text as it lies in HDF5: in the file's heap, or in place (fixed
// length).
#pragma once

#include <hdf5.h>

#include <functional>
#include <string>
#include <vector>

#include "retort/files/hdf5.hpp"

namespace retort::hdf5_types {

// Turns HDF5's own messages and plugins off, once a process.
void start();
// What HDF5 said last, in its innermost words.
std::string last_words();

// What h5py reads as str, and as a NumPy boolean (an enumeration of int8).
Hdf5Handle utf8_type();
Hdf5Handle bool_type();

// `count` texts of `type`. `read(memory)` fills count elements of H5Tget_size(type) bytes each; `space` is that of the
// elements, to give back what HDF5 allocated. `refuse(problem)` throws. `total` counts down the bytes that are still
// allowed.
void append_texts(hid_t type, hid_t record, hid_t space, hid_t transfer, std::int64_t count,
                  std::function<void(void*)> const& read, std::function<void(std::string const&)> const& refuse,
                  StringLimits const& limits, std::int64_t& total, std::vector<std::string>& into);

}  // namespace retort::hdf5_types
