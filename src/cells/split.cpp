#include "retort/cells/split.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {

namespace {

// How many of n cells a part of this fraction takes: at least one and never all, so that both sides know the class.
std::int64_t part_size(std::int64_t n, double fraction) {
  if (n < 2 || fraction <= 0) return 0;
  auto const rounded = static_cast<std::int64_t>(std::floor(static_cast<double>(n) * fraction + 0.5));
  return std::clamp<std::int64_t>(rounded, 1, n - 1);
}

}  // namespace

std::vector<Part> stratified_split(std::vector<std::int32_t> const& classes, std::int64_t class_count,
                                   SplitFractions const& fractions, std::uint64_t seed) {
  std::vector<std::vector<std::int64_t>> members(index(class_count));
  for (std::size_t i = 0; i < classes.size(); ++i) members[index(classes[i])].push_back(static_cast<std::int64_t>(i));

  std::vector<Part> parts(classes.size(), Part::fit);
  for (std::size_t c = 0; c < members.size(); ++c) {
    auto& cells = members[c];
    auto const n = static_cast<std::int64_t>(cells.size());
    std::int64_t const tests = part_size(n, fractions.test);
    Random(seed, purpose::split, c).shuffle(cells);
    for (std::int64_t i = 0; i < tests; ++i) parts[index(cells[index(i)])] = Part::test;

    // Drawn by an own stream from the cells in their order, so that the test fraction alone decides who tests.
    std::vector<std::int64_t> train(cells.begin() + tests, cells.end());
    std::sort(train.begin(), train.end());
    Random(seed, purpose::held_out, c).shuffle(train);
    std::int64_t const held = part_size(n - tests, fractions.held_out);
    for (std::int64_t i = 0; i < held; ++i) parts[index(train[index(i)])] = Part::held_out;
  }
  return parts;
}

std::vector<std::int64_t> shuffled_order(std::int64_t cells, std::uint64_t seed) {
  std::vector<std::int64_t> order(index(cells));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  Random(seed, purpose::shuffle).shuffle(order);
  return order;
}

}  // namespace retort
