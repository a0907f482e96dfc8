#include "retort/run/huge_pages.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace retort {
namespace {

constexpr std::size_t huge = std::size_t{2} << 20;

std::size_t in_whole_pages(std::size_t bytes) { return (bytes + huge - 1) / huge * huge; }

}  // namespace

std::shared_ptr<void> large_array(std::size_t bytes) {
  // A page more than needed, so that the array can begin at a border of large pages.
  std::size_t const mapped = in_whole_pages(bytes) + huge;
  void* const begin =
      ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin == MAP_FAILED) throw std::bad_alloc();
  void* const array = reinterpret_cast<void*>(in_whole_pages(reinterpret_cast<std::uintptr_t>(begin)));
  if (bytes >= huge) static_cast<void>(::madvise(array, in_whole_pages(bytes), MADV_HUGEPAGE));
  return {array, [begin, mapped](void*) { ::munmap(begin, mapped); }};
}

}  // namespace retort
