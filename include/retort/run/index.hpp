// Signed sizes as indices: one place for the cast that subscripts and sizes of containers ask for.
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "retort/run/assert.hpp"

namespace retort {

// `value`, which is not negative, as a subscript or a size.
template <std::integral Value>
constexpr std::size_t index(Value value) noexcept {
  RETORT_ASSERT(std::cmp_greater_equal(value, 0));
  return static_cast<std::size_t>(value);
}
template <class Enumerator>
requires std::is_enum_v<Enumerator>
constexpr std::size_t index(Enumerator value) noexcept { return static_cast<std::size_t>(value); }

}  // namespace retort
