#include "retort/models/head_pass.hpp"

#include <ATen/ATen.h>

namespace retort {

std::vector<LinearLayer> layers_of(Head const& head) {
  auto layers = head.hidden;
  layers.push_back({head.weight, head.bias});
  return layers;
}

Head copy_of(Head const& head) {
  Head copy{head.weight.clone(), head.bias.clone()};
  for (auto const& layer : head.hidden) copy.hidden.push_back({layer.weight.clone(), layer.bias.clone()});
  return copy;
}

LayerPass pass_through(Head const& head, at::Tensor const& rows, at::Tensor const& labels) {
  LayerPass pass{{rows}, {}};
  for (auto const& layer : head.hidden)
    pass.inputs.push_back(at::relu(at::linear(pass.inputs.back(), layer.weight, layer.bias)));
  at::Tensor const probabilities =
      at::softmax(at::linear(pass.inputs.back(), head.weight, head.bias), 1);  // [n, classes]
  pass.deltas.resize(pass.inputs.size());
  pass.deltas.back() = probabilities - at::one_hot(labels, head.bias.size(0));
  auto const layers = layers_of(head);
  for (std::size_t i = head.hidden.size(); i > 0; --i)  // a ReLU is open where it gave something
    pass.deltas[i - 1] = at::mm(pass.deltas[i], layers[i].weight) * pass.inputs[i].gt(0);
  return pass;
}

}  // namespace retort
