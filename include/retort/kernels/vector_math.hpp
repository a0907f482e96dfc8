// Exponential and logarithm in forms that a compiler turns into vector instructions.
#pragma once

#include <bit>
#include <cstdint>

// One source, compiled for each generation of processors; the newest that runs is chosen when the program starts.
#define RETORT_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

namespace retort {

// x becomes e^x for x in [-87, 88], to 2 units in the last place; below it e^-87, a hair above zero. Float is a float
// or a vector of them, Whole an integer of the same size. (Range reduction and polynomial as in Cody & Waite 1980.)
template <class Float, class Whole>
[[gnu::always_inline]] inline void exponentiate(Float& x) {
  constexpr float rounding = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  x = x < -87.0F ? -87.0F - Float{} : x > 88.0F ? 88.0F - Float{} : x;
  Float const shifted = x * 1.44269504088896341F + rounding;
  Float const whole = shifted - rounding;
  Float const r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
  Float p = 1.9875691500e-4F - Float{};
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  Whole const exponent = __builtin_bit_cast(Whole, shifted) - (std::bit_cast<std::int32_t>(rounding) - 127);
  x = p * __builtin_bit_cast(Float, exponent << 23);
}
[[gnu::always_inline]] inline float vector_exp(float x) {
  exponentiate<float, std::int32_t>(x);
  return x;
}

// log x for normal x > 0, to 2 units in the last place.
[[gnu::always_inline]] inline float vector_log(float x) {
  auto const bits = std::bit_cast<std::int32_t>(x);
  std::int32_t const exponent = (bits - 0x3f3504f3) >> 23;  // so that the mantissa lies in [sqrt(1/2), sqrt(2))
  float const f = std::bit_cast<float>(bits - exponent * (1 << 23)) - 1.0F;
  float const square = f * f;
  float p = 7.0376836292e-2F;
  p = p * f - 1.1514610310e-1F;
  p = p * f + 1.1676998740e-1F;
  p = p * f - 1.2420140846e-1F;
  p = p * f + 1.4249322787e-1F;
  p = p * f - 1.6668057665e-1F;
  p = p * f + 2.0000714765e-1F;
  p = p * f - 2.4999993993e-1F;
  p = p * f + 3.3333331174e-1F;
  auto const whole = static_cast<float>(exponent);
  return ((f * square * p + whole * -2.12194440e-4F) - 0.5F * square) + f + whole * 0.693359375F;
}

}  // namespace retort
