// Names a content: 64 bits of XXH3 as 16 hexadecimal digits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace retort {

std::uint64_t hash_bytes(void const* bytes, std::size_t size, std::uint64_t seed = 0);
std::string hash_text(std::string const& text);

}  // namespace retort
