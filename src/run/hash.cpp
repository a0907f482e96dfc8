#include "retort/run/hash.hpp"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace retort {

std::uint64_t hash_bytes(void const* bytes, std::size_t size, std::uint64_t seed) { return XXH3_64bits_withSeed(bytes, size, seed); }

std::string hash_text(std::string const& text) { return fmt::format("{:016x}", hash_bytes(text.data(), text.size())); }

}  // namespace retort
