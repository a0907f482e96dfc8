// Noise as a tensor.
#pragma once

#include <ATen/core/Tensor.h>

#include "retort/run/random.hpp"

namespace retort {

// Standard normal numbers float32 of these sizes, the next ones of the stream, in memory order.
at::Tensor normal_tensor(at::IntArrayRef sizes, Random& random);

}  // namespace retort
