// Compressing by all ranks what one rank writes: chunk i of a data set is compressed by rank i mod ranks.
#pragma once

#include <functional>

#include "retort/files/hdf5.hpp"

namespace retort {

// Collective: creates `name` in `group` (rank 0's; null elsewhere), gzip at `level`, with `count` values of `type` that
// `read(begin, count, into)` gives. The chunks and their order in the file do not depend on the number of ranks.
void write_compressed(Communicator const& ranks, Hdf5Group* group, std::string const& name, NumberType type,
                      std::int64_t count, int level,
                      std::function<void(std::int64_t, std::int64_t, void*)> const& read);

}  // namespace retort
