#include "retort/run/huge_pages.hpp"

#include <sys/mman.h>

#include <cstdint>

namespace retort {

void prefer_huge_pages(void* begin, std::size_t bytes) {
  constexpr std::uintptr_t huge = std::uintptr_t{2} << 20;
  auto const first = (reinterpret_cast<std::uintptr_t>(begin) + huge - 1) / huge * huge, last = (reinterpret_cast<std::uintptr_t>(begin) + bytes) / huge * huge;
  if (first < last) static_cast<void>(::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE));
}

}  // namespace retort
