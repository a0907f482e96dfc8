// Colours that readers with any colour vision tell apart (Okabe and Ito 2008), on light and on dark paper.
#pragma once

#include <cstddef>
#include <string>

namespace retort {

// "#rrggbb": eight hues; from the ninth class on the same hues darker, then lighter, so that 24 differ. More repeat, and are told
// apart by their numbers.
std::string colour(std::size_t index);

}  // namespace retort
