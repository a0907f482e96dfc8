// A way to make cells of codes: what distillation optimises are the codes (methods 1.1, G(Z)).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "retort/models/foundation.hpp"
#include "retort/models/scdg.hpp"

namespace retort {

// A variant is a value of this type; a new one is a function that returns it, in a file of its own, and a line in
// programs/distill.cpp. All networks in it are frozen.
struct Generator {
  std::string name;
  enum class Start { latents, cells } start = Start::latents;  // the initial codes: features of real cells, or the cells
  bool codes_stay_positive = false;                            // codes below zero are set to zero after every step
  // Codes [n, width], classes int64 [n] -> log-normalised cells [n, genes]; differentiable in the codes, row by row.
  std::function<at::Tensor(at::Tensor const& codes, at::Tensor const& classes)> cells;
};

// scDD: rescale(max(0, D(normalise(U(scale Z, t = 1, class))))). No noise is added (methods 1.3.4 a), and U's result has
// unit rows as the encoder's results have, so D sees what it was trained on. Freezes U; keeps references to both.
Generator scdd_generator(Scdg& denoiser, Foundation& foundation);

// The cells themselves, kept >= 0: plain dataset condensation (DC) and distribution matching (DM).
Generator cell_generator();

}  // namespace retort
