// Large arrays on large pages, where the system gives them on request (transparent_hugepage = madvise, as most clusters
// have it).
#pragma once

#include <cstddef>
#include <memory>

namespace retort {

// An array of zeros in memory of its own, from the system: the allocator would hand out small pages that were in use
// before. A hint: where large pages are refused it is an array like any other. Gathered rows of a large weight
// otherwise miss the page table at every row: 256 cells through a first layer of 20,000 x 1,024 took 32 ms in float32
// and 30 ms in bfloat16 on small pages, 25 and 20 ms on large ones. Throws std::bad_alloc.
std::shared_ptr<void> large_array(std::size_t bytes);

}  // namespace retort
