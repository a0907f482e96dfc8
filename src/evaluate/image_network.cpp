#include "retort/evaluate/image_network.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

namespace retort {

ImageNetwork::ImageNetwork(GeneLayout const& layout, std::int64_t classes, std::uint64_t seed, std::uint64_t number)
    : Student(seed, number), layout_(layout) {
  std::int64_t in = 1, side = layout.side;
  for (std::int64_t const out : {16, 32, 64}) {
    auto const name = fmt::format("convolution.{}", convolutions_.size());
    at::Tensor const weight = normal(name + ".weight", {out, in, 3, 3}, std::sqrt(2.0 / static_cast<double>(9 * in)));
    convolutions_.emplace_back(weight, constant(name + ".bias", {out}, 0));
    in = out;
    side = (side + 1) / 2;
  }
  std::int64_t const width = in * side * side;
  weight_ = normal("head.weight", {classes, width}, 1 / std::sqrt(static_cast<double>(width)));
  bias_ = constant("head.bias", {classes}, 0);
}

at::Tensor ImageNetwork::scores(CsrBlock const& cells, Random*) const {
  at::Tensor x = draw_images(cells, layout_);
  for (auto const& [weight, bias] : convolutions_) x = at::relu(at::conv2d(x, weight, bias, 2, 1));
  return at::linear(x.flatten(1), weight_, bias_);
}

}  // namespace retort
