#include "retort/distill/variant.hpp"

#include <ATen/ATen.h>

#include "retort/kernels/rescale.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

at::Tensor unit_rows(at::Tensor const& rows) { return rows / rows.norm(2, {1}, true).clamp_min(1e-12); }

}  // namespace

Variant scdd_variant(Scdg& denoiser, Foundation& foundation) {
  denoiser.freeze();
  std::int64_t const classes = denoiser.shape().classes;
  // One row a class: what t = 1 and the class add to each layer is the same in every iteration.
  auto const table = denoiser.condition(at::ones({classes}, at::kLong), at::arange(classes, at::kLong));
  double const scale = denoiser.shape().latent_scale;
  auto cells = [&denoiser, &foundation, table, scale](at::Tensor const& codes, at::Tensor const& of_class) {
    std::vector<at::Tensor> conditions;
    for (auto const& layer : table) conditions.push_back(layer.index_select(0, of_class));
    return rescale_to_cell(foundation.decode(unit_rows(denoiser.denoise(codes * scale, conditions))));
  };
  return {{}, Variant::Start::latents, false, false, std::move(cells)};
}

Variant decoder_variant(Foundation& foundation) {
  auto cells = [&foundation](at::Tensor const& codes, at::Tensor const&) {
    return rescale_to_cell(foundation.decode(unit_rows(codes)));
  };
  return {{}, Variant::Start::latents, false, false, std::move(cells)};
}

Variant cell_variant() {
  auto cells = [](at::Tensor const& codes, at::Tensor const&) { return rescale_to_cell(codes, 1); };
  return {{}, Variant::Start::cells, true, false, std::move(cells)};
}

Variant feature_variant(Foundation& foundation) {
  Variant variant = decoder_variant(foundation);
  variant.codes_are_features = true;
  return variant;
}

VariantKind variant_kind(std::string const& name) {
  if (name == "scdd") return {.name = name, .needs_denoiser = true};
  if (name == "decoder" || name == "cells") return {.name = name};
  if (name == "features") return {.name = name, .may_be_product = false};
  if (name == "features_decoded") return {.name = name, .is_judged_decoded = true};
  if (name == "generator") return {.name = name, .needs_denoiser = true, .is_matched = false};
  if (name == "random") return {.name = name, .is_matched = false};
  fail(ExitCode::usage,
       "distill.variants has '{}' (a variant is scdd, decoder, cells, features, features_decoded, generator or random)",
       name);
}

Variant variant_of(VariantKind const& kind, Scdg* denoiser, Foundation& foundation) {
  Variant variant = kind.needs_denoiser                                          ? scdd_variant(*denoiser, foundation)
                    : kind.name == "decoder"                                     ? decoder_variant(foundation)
                    : kind.name == "features" || kind.name == "features_decoded" ? feature_variant(foundation)
                                                                                 : cell_variant();
  variant.kind = kind;
  return variant;
}

}  // namespace retort
