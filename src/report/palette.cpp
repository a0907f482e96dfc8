#include "retort/report/palette.hpp"

#include <fmt/format.h>

#include <array>

namespace retort {
namespace {

constexpr std::array<std::array<int, 3>, 8> hues{{{0, 114, 178},
                                                  {230, 159, 0},
                                                  {0, 158, 115},
                                                  {213, 94, 0},
                                                  {86, 180, 233},
                                                  {204, 121, 167},
                                                  {190, 175, 20},
                                                  {128, 128, 128}}};

// Each hue in three shades: mixed with so many per cent of black, or of white where the number is above 0.
std::string colours(std::array<int, 3> const& white) {
  std::string css;
  for (std::size_t i = 0; i < 3 * hues.size(); ++i) {
    int const share = white[i / hues.size()];
    auto const mixed = [&](int part) {
      return share < 0 ? part * (100 + share) / 100 : part + (255 - part) * share / 100;
    };
    auto const& hue = hues[i % hues.size()];
    css += fmt::format("--c{}:#{:02x}{:02x}{:02x};", i, mixed(hue[0]), mixed(hue[1]), mixed(hue[2]));
  }
  return css;
}

}  // namespace

std::string colour(std::size_t index) { return fmt::format("var(--c{})", index % (3 * hues.size())); }

std::string colours_on_light_paper() { return colours({0, -45, 45}); }
std::string colours_on_dark_paper() { return colours({15, 55, -20}); }

}  // namespace retort
