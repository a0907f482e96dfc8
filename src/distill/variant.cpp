#include <ATen/ATen.h>

#include "retort/distill/variant.hpp"
#include "retort/kernels/rescale.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

at::Tensor unit_rows(at::Tensor const& rows) { return rows / rows.norm(2, {1}, true).clamp_min(1e-12); }

}  // namespace

Generator scdd_generator(Scdg& denoiser, Foundation& foundation) {
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
  return {Generator::Start::latents, false, false, std::move(cells)};
}

Generator decoder_generator(Foundation& foundation) {
  auto cells = [&foundation](at::Tensor const& codes, at::Tensor const&) {
    return rescale_to_cell(foundation.decode(unit_rows(codes)));
  };
  return {Generator::Start::latents, false, false, std::move(cells)};
}

Generator cell_generator() {
  auto cells = [](at::Tensor const& codes, at::Tensor const&) { return rescale_to_cell(codes, 1); };
  return {Generator::Start::cells, true, false, std::move(cells)};
}

Generator feature_generator(Foundation& foundation) {
  Generator generator = decoder_generator(foundation);
  generator.codes_are_features = true;
  return generator;
}

Variant variant_named(std::string const& name) {
  for (auto const& known : {Variant{"scdd", true, true}, Variant{"decoder", false, true}, Variant{"cells", false, true},
                            Variant{"features", false, true}, Variant{"features_decoded", false, true},
                            Variant{"generator", true, false}, Variant{"random", false, false}})
    if (known.name == name) return known;
  fail(ExitCode::usage,
       "distill.variants has '{}' (a variant is scdd, decoder, cells, features, features_decoded, generator or random)",
       name);
}

Generator generator_of(Variant const& variant, Scdg* denoiser, Foundation& foundation) {
  if (variant.needs_denoiser) return scdd_generator(*denoiser, foundation);
  if (variant.name == "decoder") return decoder_generator(foundation);
  if (variant.name == "features" || variant.name == "features_decoded") return feature_generator(foundation);
  return cell_generator();
}

}  // namespace retort
