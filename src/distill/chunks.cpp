#include "retort/distill/chunks.hpp"

#include <algorithm>

namespace retort {

std::vector<Chunk> plan_chunks(std::int64_t classes, std::int64_t spc, std::int64_t chunk_cells, int ranks) {
  std::int64_t const classes_a_chunk = std::max<std::int64_t>(1, chunk_cells / spc);
  std::int64_t const count = (classes + classes_a_chunk - 1) / classes_a_chunk;
  std::vector<Chunk> chunks;
  for (std::int64_t i = 0; i < count; ++i) {
    // Equal shares instead of full chunks and a rest: 44 classes by 16 at most become 15, 15, 14.
    std::int64_t const begin = classes * i / count, end = classes * (i + 1) / count;
    Chunk chunk{begin, end - begin, {begin * spc, end * spc}, {}, 0};
    std::int64_t const pieces = std::max<std::int64_t>(1, (chunk.rows.size() + chunk_cells - 1) / chunk_cells);
    for (std::int64_t piece = 0; piece < pieces; ++piece)
      chunk.pieces.push_back({chunk.rows.begin + chunk.rows.size() * piece / pieces,
                              chunk.rows.begin + chunk.rows.size() * (piece + 1) / pieces});
    std::int64_t const middle = chunk.rows.begin + chunk.rows.end;  // twice, to stay whole
    chunk.owner = static_cast<int>(middle * ranks / (2 * classes * spc));
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

}  // namespace retort
