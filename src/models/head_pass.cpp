#include "retort/models/head_pass.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace retort {
namespace {
std::string tensor_name(char const* part, std::size_t layer) { return fmt::format("head_{}_{}", part, layer); }
}  // namespace

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

std::map<std::string, at::Tensor> head_tensors(Head const& head) {
  std::map<std::string, at::Tensor> tensors;
  if (!head.weight.defined()) return tensors;
  auto const layers = layers_of(head);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    tensors[tensor_name("weight", i)] = layers[i].weight;
    tensors[tensor_name("bias", i)] = layers[i].bias;
  }
  return tensors;
}

Head head_of_tensors(std::map<std::string, at::Tensor> const& tensors) {
  Head head;
  for (std::size_t i = 0; tensors.contains(tensor_name("weight", i)); ++i) {
    if (head.weight.defined()) head.hidden.push_back({head.weight, head.bias});
    head.weight = tensors.at(tensor_name("weight", i));
    head.bias = tensors.at(tensor_name("bias", i));
  }
  return head;
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
