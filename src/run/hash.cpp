#include "retort/run/hash.hpp"

#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "retort/run/index.hpp"

namespace retort {

std::uint64_t hash_bytes(void const* bytes, std::size_t size, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, size, seed);
}

std::string hash_file(std::filesystem::path const& file) {
  std::ifstream stream(file, std::ios::binary);
  std::vector<char> piece(std::size_t{4} << 20);
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> const state(XXH3_createState(), &XXH3_freeState);
  XXH3_64bits_reset_withSeed(state.get(), 0);
  while (stream.read(piece.data(), std::ssize(piece)) || stream.gcount() > 0)
    XXH3_64bits_update(state.get(), piece.data(), index(stream.gcount()));
  return stream.eof() ? fmt::format("{:016x}", XXH3_64bits_digest(state.get())) : "";
}

std::string hash_text(std::string const& text) { return fmt::format("{:016x}", hash_bytes(text.data(), text.size())); }

}  // namespace retort
