#include "retort/files/compressed_chunks.hpp"

#include <algorithm>

#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t chunk_values = 1 << 17;

// HDF5 itself compresses, in a file in memory, so that what is written is what its own reader expects.
std::vector<char> compressed(NumberType type, std::int64_t values, int level, void const* from) {
  auto file = Hdf5File::in_memory();
  auto set = file.create_dataset("chunk", type, {values}, {values, level});
  set.write(type, 0, values, from);
  return set.read_chunk(0);
}

}  // namespace

void write_compressed(Communicator const& ranks, Hdf5Group* group, std::string const& name, NumberType type,
                      std::int64_t count, int level,
                      std::function<void(std::int64_t, std::int64_t, void*)> const& read) {
  std::int64_t const chunk = std::min(chunk_values, count);
  std::optional<Hdf5Dataset> set;
  ranks.together([&] {
    if (group) set = group->create_dataset(name, type, {count}, {chunk, level});
  });
  Numbers values;
  for (std::int64_t round = 0; round < count; round += chunk * ranks.size()) {
    std::vector<std::vector<char>> to(index(ranks.size()));
    ranks.together([&] {
      std::int64_t const begin = round + chunk * ranks.rank();
      if (begin >= count) return;
      values.resize(type, chunk);
      std::fill_n(values.data(), chunk * bytes_of(type), std::byte{0});  // the last chunk is whole in the file too
      read(begin, std::min(chunk, count - begin), values.data());
      to[0] = compressed(type, chunk, level, values.data());
    });
    auto const sizes = ranks.gather(std::ssize(to[0]));
    auto const received = ranks.exchange(to);
    ranks.together([&] {
      std::size_t at = 0;
      for (std::size_t r = 0; set && r < sizes.size() && sizes[r] > 0; at += index(sizes[r]), ++r)
        set->write_chunk(round + chunk * static_cast<std::int64_t>(r),
                         std::span(received).subspan(at, index(sizes[r])));
    });
  }
}

}  // namespace retort
