// What a synthetic set is made of: codes that are optimised, and a way to make cells of them (methods 1.1, G(Z)).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "retort/models/foundation.hpp"
#include "retort/models/scdg.hpp"

namespace retort {

// What a variant's name alone says (methods 1.5.2). A new variant is a line of variant_kind(), a function below and a
// line of variant_of().
struct VariantKind {
  std::string name;
  bool needs_denoiser = false;
  bool is_matched = true;          // generator and random are scdd and cells as they start
  bool is_judged_decoded = false;  // held-out heads learn from the features of the exported cells, not from the codes
  bool may_be_product = true;      // a set of features is judged by them, and its cells need not have them
};
// Throws Failure(usage).
VariantKind variant_kind(std::string const& name);

// A variant with its networks, all of them frozen.
struct Variant {
  VariantKind kind;
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
Variant scdd_variant(Scdg& denoiser, Foundation& foundation);
// The same without U (scDD, table V: scDD+Decoder): rescale(max(0, D(normalise(Z)))).
Variant decoder_variant(Foundation& foundation);
// The cells themselves, kept >= 0: plain dataset condensation (DC) and distribution matching (DM).
Variant cell_variant();
// The features themselves, without any network in the loop (FeatDistill); decoded for export as decoder_variant does
// (TextDistill, where the decoded cells are what is judged).
Variant feature_variant(Foundation& foundation);

// The variant of a kind. `denoiser` may be null where the kind does not need it.
Variant variant_of(VariantKind const& kind, Scdg* denoiser, Foundation& foundation);

}  // namespace retort
