// A way to make cells of codes: what distillation optimises are the codes (methods 1.1, G(Z)).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "retort/models/foundation.hpp"
#include "retort/models/scdg.hpp"

namespace retort {

// All networks in it are frozen.
struct Generator {
  enum class Start {
    latents,
    cells
  } start = Start::latents;          // the initial codes: features of real cells, or the cells
  bool codes_stay_positive = false;  // codes below zero are set to zero after every step
  bool codes_are_features = false;   // what is matched are the codes; cells() is for export alone
  // Codes [n, width], classes int64 [n] -> log-normalised cells [n, genes]; differentiable in the codes, row by row.
  std::function<at::Tensor(at::Tensor const& codes, at::Tensor const& classes)> cells;
};

// scDD: rescale(max(0, D(normalise(U(scale Z, t = 1, class))))). No noise is added (methods 1.3.4 a), and U's result
// has unit rows as the encoder's results have, so D sees what it was trained on. Freezes U; keeps references to both.
Generator scdd_generator(Scdg& denoiser, Foundation& foundation);
// The same without U (scDD, table V: scDD+Decoder): rescale(max(0, D(normalise(Z)))).
Generator decoder_generator(Foundation& foundation);
// The cells themselves, kept >= 0: plain dataset condensation (DC) and distribution matching (DM).
Generator cell_generator();
// The features themselves, without any network in the loop (FeatDistill); decoded for export as decoder_generator does
// (TextDistill, where the decoded cells are what is judged).
Generator feature_generator(Foundation& foundation);

// A variant of distillation by its name (methods 1.5.2). A new one is a function above and a line in variant.cpp.
struct Variant {
  std::string name;
  bool needs_denoiser = false;
  bool is_matched =
      true;  // generator and random are scdd and cells as they start: real cells through U and D, and real cells
};
// Throws Failure(usage).
Variant variant_named(std::string const& name);
// `denoiser` may be null where the variant does not need it.
Generator generator_of(Variant const& variant, Scdg* denoiser, Foundation& foundation);

}  // namespace retort
