#include <ATen/ATen.h>

#include "retort/distill/generator.hpp"
#include "retort/kernels/rescale.hpp"

namespace retort {

Generator scdd_generator(Scdg& denoiser, Foundation& foundation) {
  denoiser.freeze();
  std::int64_t const classes = denoiser.shape().classes;
  // One row a class: what t = 1 and the class add to each layer is the same in every iteration.
  auto const table = denoiser.condition(at::ones({classes}, at::kLong), at::arange(classes, at::kLong));
  double const scale = denoiser.shape().latent_scale;
  auto cells = [&denoiser, &foundation, table, scale](at::Tensor const& codes, at::Tensor const& of_class) {
    std::vector<at::Tensor> conditions;
    for (auto const& layer : table) conditions.push_back(layer.index_select(0, of_class));
    at::Tensor const latents = denoiser.denoise(codes * scale, conditions);
    at::Tensor const unit = latents / latents.norm(2, {1}, true).clamp_min(1e-12);
    return rescale_to_cell(foundation.decode(unit));
  };
  return {"scdd", Generator::Start::latents, false, std::move(cells)};
}

}  // namespace retort
