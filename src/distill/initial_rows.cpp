#include "retort/distill/initial_rows.hpp"

#include <utility>

#include "retort/run/random.hpp"

namespace retort {

std::vector<std::int64_t> initial_rows(std::vector<std::vector<std::int64_t>> const& rows_by_class, std::int64_t spc, std::uint64_t seed,
                                       std::int64_t draw) {
  std::vector<std::int64_t> chosen;
  for (std::size_t c = 0; c < rows_by_class.size(); ++c) {
    Random random(seed, purpose::initial_cells, static_cast<std::uint64_t>(draw), static_cast<std::uint32_t>(c));
    auto rows = rows_by_class[c];
    bool const enough = std::ssize(rows) >= spc;
    for (std::size_t i = 0; i < static_cast<std::size_t>(spc); ++i) {
      if (enough) std::swap(rows[i], rows[i + random.below(rows.size() - i)]);
      chosen.push_back(enough ? rows[i] : rows[random.below(rows.size())]);
    }
  }
  return chosen;
}

}  // namespace retort
