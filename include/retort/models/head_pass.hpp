// A head and its back-propagation, written out layer by layer in operations that can themselves be differentiated: the
// gradients that gradient matching compares are functions of the cells (methods 1.4.3).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace retort {

struct LinearLayer {
  at::Tensor weight, bias;  // [out, in], [out]
};

// Scores of features, or of the last of some hidden layers.
struct Head {
  at::Tensor weight;                     // [classes, width of the last hidden layer, or of the features]
  at::Tensor bias;                       // [classes]
  std::vector<LinearLayer> hidden = {};  // in front, each followed by ReLU; empty: a linear head
};

// All layers from the features to the scores; they share their memory with the head.
std::vector<LinearLayer> layers_of(Head const& head);
Head copy_of(Head const& head);
// A head as tensors by name, for checkpoints, and back: layer i, from the features up, is head_weight_i and
// head_bias_i. No such tensor: an undefined head.
std::map<std::string, at::Tensor> head_tensors(Head const& head);
Head head_of_tensors(std::map<std::string, at::Tensor> const& tensors);

// One entry a weight matrix. The gradient of the rows' summed cross-entropy by a matrix is deltas^T inputs, by its bias
// the deltas' sum over rows.
struct LayerPass {
  std::vector<at::Tensor> inputs;  // [n, in]: the rows that it takes
  std::vector<at::Tensor> deltas;  // [n, out]: derivatives of each row's cross-entropy by the row that it gives
};

// Rows [n, width], labels int64 [n]; float or double. Differentiable in the rows where gradients are recorded; ReLU's
// second derivative is zero. Not collective.
LayerPass pass_through(Head const& head, at::Tensor const& rows, at::Tensor const& labels);

}  // namespace retort
