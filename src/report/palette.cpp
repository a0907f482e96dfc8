#include "retort/report/palette.hpp"

#include <fmt/format.h>

#include <array>

namespace retort {

std::string colour(std::size_t index) {
  constexpr std::array<std::array<int, 3>, 8> hues{{{0, 114, 178}, {230, 159, 0}, {0, 158, 115}, {213, 94, 0}, {86, 180, 233}, {204, 121, 167}, {200, 185, 30}, {128, 128, 128}}};
  auto const& hue = hues[index % hues.size()];
  std::size_t const round = index / hues.size() % 3;
  auto const mixed = [&](int part) { return round == 0 ? part : round == 1 ? part * 55 / 100 : part + (255 - part) * 50 / 100; };
  return fmt::format("#{:02x}{:02x}{:02x}", mixed(hue[0]), mixed(hue[1]), mixed(hue[2]));
}

}  // namespace retort
