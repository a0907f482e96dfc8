// Colours that readers with any colour vision tell apart (Okabe and Ito 2008), on light and on dark paper.
#pragma once

#include <cstddef>
#include <string>

namespace retort {

// A colour of the style sheet: eight hues, then the same hues in two other shades, so that 24 differ. More repeat, and
// are told apart by their numbers.
std::string colour(std::size_t index);

// The style sheet's list of them: "--c0:#rrggbb;...".
std::string colours_on_light_paper();
std::string colours_on_dark_paper();

}  // namespace retort
