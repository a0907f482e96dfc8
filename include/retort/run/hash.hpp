// Names a content: 64 bits of XXH3 as 16 hexadecimal digits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace retort {

std::uint64_t hash_bytes(void const* bytes, std::size_t size, std::uint64_t seed = 0);
std::string hash_text(std::string const& text);
// Of a file's bytes, read piece by piece; empty where it cannot be read.
std::string hash_file(std::filesystem::path const& file);

}  // namespace retort
