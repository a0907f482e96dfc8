#include "retort/generate/row_noise.hpp"

#include <ATen/ATen.h>

#include "retort/run/random.hpp"

namespace retort {

at::Tensor row_noise(std::uint64_t seed, GeneratedRows const& rows, std::int64_t width, std::int64_t step) {
  at::Tensor noise = at::empty({rows.count, width}, at::kFloat);
  float* to = noise.data_ptr<float>();
  for (std::int64_t row = rows.first; row < rows.first + rows.count; ++row) {
    Random random(seed, purpose::generate_noise, static_cast<std::uint64_t>(row), static_cast<std::uint32_t>(step));
    for (std::int64_t i = 0; i < width; ++i) *to++ = static_cast<float>(random.normal());
  }
  return noise;
}

}  // namespace retort
