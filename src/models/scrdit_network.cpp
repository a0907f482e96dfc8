#include "retort/models/scrdit_network.hpp"

#include <ATen/ATen.h>

namespace retort {
namespace {

std::variant<ScrditTransformer, ScrditUnet> made(ScrditShape const& shape, std::uint64_t seed) {
  if (auto const* unet = std::get_if<ScrditUnetShape>(&shape)) return ScrditUnet(*unet, seed);
  return ScrditTransformer(std::get<ScrditTransformerShape>(shape), seed);
}

}  // namespace

std::int64_t genes_divisor(ScrditShape const& shape) {
  auto const* transformer = std::get_if<ScrditTransformerShape>(&shape);
  return transformer ? transformer->patch : 8;
}

ScrditNetwork::ScrditNetwork(ScrditShape const& shape, std::uint64_t seed) : network_(made(shape, seed)) {}

ScrditShape ScrditNetwork::shape() const {
  return std::visit([](auto const& network) -> ScrditShape { return network.shape(); }, network_);
}

Parameters const& ScrditNetwork::parameters() const {
  return std::visit([](auto const& network) -> Parameters const& { return network.parameters(); }, network_);
}

at::Tensor ScrditNetwork::predict(at::Tensor const& x, at::Tensor const& t) const {
  return std::visit([&](auto const& network) { return network.predict(x, t); }, network_);
}

}  // namespace retort
