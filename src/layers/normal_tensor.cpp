#include "retort/layers/normal_tensor.hpp"

#include <ATen/ATen.h>

namespace retort {

at::Tensor normal_tensor(at::IntArrayRef sizes, Random& random) {
  at::Tensor const noise = at::empty(sizes, at::kFloat);
  for (std::int64_t i = 0; i < noise.numel(); ++i) noise.data_ptr<float>()[i] = static_cast<float>(random.normal());
  return noise;
}

}  // namespace retort
