#include "retort/models/head_training.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {

namespace {

constexpr std::int64_t block_rows = 256;

// The buffers of a step, made once. Everything a class is a row, so that loops over the cells of a batch are vector
// loops.
struct Step {
  Step(std::int64_t most_rows, std::int64_t classes, std::int64_t width)
      : rows(at::empty({most_rows, width}, at::kFloat)),
        labels(index(most_rows)),
        scores_memory(at::empty({classes * most_rows}, at::kFloat)),
        weight_velocity(at::zeros({classes, width}, at::kFloat)),
        bias_velocity(index(classes), 0.0F),
        largest(index(most_rows)),
        total(index(most_rows)) {}

  at::Tensor rows;                    // [most_rows, width]
  std::vector<std::int64_t> labels;   // [most_rows]
  at::Tensor scores_memory;           // [classes, rows of the batch] lies in front
  at::Tensor weight_velocity;         // [classes, width]
  std::vector<float> bias_velocity;   // [classes]
  std::vector<float> largest, total;  // [most_rows]
};

// Turns scores without bias [classes, n] into softmax minus one-hot, in place.
void softmax_minus_labels(at::Tensor& scores, float const* bias, std::int64_t const* labels, Step& step) {
  auto const classes = scores.size(0), n = scores.size(1);
  float* const value = scores.data_ptr<float>();
  float* const largest = step.largest.data();
  float* const total = step.total.data();
  std::fill_n(largest, n, -std::numeric_limits<float>::infinity());
  for (std::int64_t c = 0; c < classes; ++c) {
    float const shift = bias[c];
    for (std::int64_t i = 0; i < n; ++i) {
      float const score = value[c * n + i] + shift;
      value[c * n + i] = score;
      largest[i] = largest[i] < score ? score : largest[i];
    }
  }
  for (std::int64_t c = 0; c < classes; ++c)
    for (std::int64_t i = 0; i < n; ++i) value[c * n + i] -= largest[i];
  scores.exp_();
  std::fill_n(total, n, 0.0F);
  for (std::int64_t c = 0; c < classes; ++c)
    for (std::int64_t i = 0; i < n; ++i) total[i] += value[c * n + i];
  for (std::int64_t i = 0; i < n; ++i) total[i] = 1.0F / total[i];
  for (std::int64_t c = 0; c < classes; ++c)
    for (std::int64_t i = 0; i < n; ++i) value[c * n + i] *= total[i];
  for (std::int64_t i = 0; i < n; ++i) value[labels[i] * n + i] -= 1.0F;
}

// One step of SGD with momentum on the mean cross-entropy of `rows`, as torch.optim.SGD does it:
// velocity = momentum * velocity + gradient + weight_decay * weight; weight -= rate * velocity.
void descend(at::Tensor const& rows, std::int64_t const* labels, Head& head, Step& step, HeadOptions const& options,
             double rate) {
  auto const n = rows.size(0), classes = head.weight.size(0), width = head.weight.size(1);
  auto scores = step.scores_memory.narrow(0, 0, classes * n).view({classes, n});
  at::mm_out(scores, head.weight, rows.t());
  float* const bias = head.bias.data_ptr<float>();
  softmax_minus_labels(scores, bias, labels, step);
  double const share = 1.0 / static_cast<double>(n);
  at::addmm_out(step.weight_velocity, step.weight_velocity, scores, rows, options.momentum, share);
  auto const momentum = static_cast<float>(options.momentum), decay = static_cast<float>(options.weight_decay),
             stride = static_cast<float>(rate);
  float const* const error = scores.data_ptr<float>();
  for (std::int64_t c = 0; c < classes; ++c) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(error[c * n + i]);
    float& velocity = step.bias_velocity[index(c)];
    velocity = momentum * velocity + static_cast<float>(sum * share) + decay * bias[c];
    bias[c] -= stride * velocity;
  }
  float* const weight = head.weight.data_ptr<float>();
  float* const velocity = step.weight_velocity.data_ptr<float>();
  for (std::int64_t i = 0; i < classes * width; ++i) {
    velocity[i] += decay * weight[i];
    weight[i] -= stride * velocity[i];
  }
}

// The same step for a head with hidden layers; `velocity` holds those of its layers.
void descend(at::Tensor const& rows, at::Tensor const& labels, std::vector<LinearLayer> const& velocity,
             Head const& head, HeadOptions const& options, double rate) {
  auto const pass = pass_through(head, rows, labels);
  auto const layers = layers_of(head);
  double const share = 1.0 / static_cast<double>(rows.size(0));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    velocity[i]
        .weight.mul_(options.momentum)
        .addmm_(pass.deltas[i].t(), pass.inputs[i], 1, share)
        .add_(layers[i].weight, options.weight_decay);
    velocity[i]
        .bias.mul_(options.momentum)
        .add_(pass.deltas[i].sum(0), share)
        .add_(layers[i].bias, options.weight_decay);
    layers[i].weight.sub_(velocity[i].weight, rate);
    layers[i].bias.sub_(velocity[i].bias, rate);
  }
}

}  // namespace

void add_head_options(OptionTable& table, HeadOptions& options) {
  table
      .add("head.epochs", options.epochs,
           "passes over the set when a head is trained; the rate falls by 10 after half of them")
      .add("head.most_steps", options.most_steps,
           "steps at most: a set of more cells than head.batch * head.most_steps / head.epochs is passed over less "
           "often")
      .add("head.rate", options.rate, "learning rate of a head")
      .add("head.momentum", options.momentum, "momentum of a head's SGD")
      .add("head.weight_decay", options.weight_decay, "weight decay of a head's SGD")
      .add("head.batch", options.batch, "cells per step of a head's SGD")
      .add("head.hidden", options.hidden,
           "widths of a head's hidden layers, with ReLU between them; empty: a linear head, in closed form")
      .add("head.scale_features", options.scale_features,
           "multiply features by the square root of their width before the head");
}

std::int64_t HeadOptions::passes_over(std::int64_t cells) const {
  std::int64_t const steps_of_a_pass = (cells + batch - 1) / std::max<std::int64_t>(1, batch);
  return std::min(epochs, std::max<std::int64_t>(1, most_steps / std::max<std::int64_t>(1, steps_of_a_pass)));
}

void check_head_options(HeadOptions const& options) {
  if (options.most_steps < 1)
    fail(ExitCode::usage, "head.most_steps is {} (a head needs at least one)", options.most_steps);
  if (options.batch < 1) fail(ExitCode::usage, "head.batch is {} (a step needs at least one cell)", options.batch);
  for (std::int64_t const width : options.hidden)
    if (width < 1) fail(ExitCode::usage, "head.hidden has {} (a hidden layer is at least 1 wide)", width);
}

Head initial_head(std::int64_t classes, std::int64_t width, std::uint64_t seed, std::uint64_t number,
                  std::vector<std::int64_t> const& hidden) {
  Random random(seed, purpose::head, number);
  auto const drawn = [&](std::int64_t out, std::int64_t in) {
    double const bound = 1.0 / std::sqrt(static_cast<double>(in));
    LinearLayer layer{at::empty({out, in}, at::kFloat), at::empty({out}, at::kFloat)};
    for (auto* values : {&layer.weight, &layer.bias}) {
      float* const value = values->data_ptr<float>();
      for (std::int64_t i = 0; i < values->numel(); ++i)
        value[i] = static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
    }
    return layer;
  };
  std::vector<LinearLayer> layers;
  for (std::int64_t const out : hidden) {
    layers.push_back(drawn(out, width));
    width = out;
  }
  LinearLayer const last = drawn(classes, width);
  return {last.weight, last.bias, layers};
}

Head train_head(at::Tensor const& features, at::Tensor const& labels, std::int64_t classes, HeadOptions const& options,
                std::uint64_t seed, std::uint64_t number) {
  auto head = initial_head(classes, features.size(1), seed, number, options.hidden);
  train_further(head, features, labels, options, seed, number);
  return head;
}

void train_further(Head& head, at::Tensor const& features, at::Tensor const& labels, HeadOptions const& options,
                   std::uint64_t seed, std::uint64_t number) {
  check_head_options(options);
  c10::InferenceMode const no_graph;
  auto const cells = features.size(0), width = features.size(1), classes = head.weight.size(0),
             batch = std::min(options.batch, cells);
  if (!cells) return;
  auto const scaled = (features * scale_of_features(width, options)).contiguous();  // [cells, width]
  auto const own_labels = labels.contiguous();
  float const* const from = scaled.data_ptr<float>();
  std::int64_t const* const label = own_labels.data_ptr<std::int64_t>();
  Step step(batch, classes, width);
  float* const to = step.rows.data_ptr<float>();
  std::vector<LinearLayer> velocity;  // of a head with hidden layers
  for (auto const& layer : head.hidden.empty() ? std::vector<LinearLayer>{} : layers_of(head))
    velocity.push_back({at::zeros_like(layer.weight), at::zeros_like(layer.bias)});
  auto const take_step = [&](at::Tensor const& rows, std::int64_t const* own, double rate) {
    if (velocity.empty()) return descend(rows, own, head, step, options, rate);
    descend(rows, at::from_blob(const_cast<std::int64_t*>(own), {rows.size(0)}, at::kLong), velocity, head, options,
            rate);
  };
  std::vector<std::int64_t> order(index(cells));
  auto const passes = options.passes_over(cells);
  for (std::int64_t epoch = 0; epoch < passes; ++epoch) {
    double const rate = !options.rate_falls || 2 * epoch < passes ? options.rate : options.rate * 0.1;
    if (cells == batch) {  // one batch holds all, so its order changes nothing but rounding
      take_step(scaled, label, rate);
      continue;
    }
    std::iota(order.begin(), order.end(), 0);
    Random(seed, purpose::head_order, number, static_cast<std::uint32_t>(epoch)).shuffle(order);
    for (std::int64_t begin = 0; begin < cells; begin += batch) {
      auto const n = std::min(batch, cells - begin);
      for (std::int64_t i = 0; i < n; ++i) {
        auto const row = order[index(begin + i)];
        std::memcpy(to + i * width, from + row * width, index(width) * sizeof(float));
        step.labels[index(i)] = label[row];
      }
      take_step(step.rows.narrow(0, 0, n), step.labels.data(), rate);
    }
  }
}

double scale_of_features(std::int64_t width, HeadOptions const& options) {
  return options.scale_features ? std::sqrt(static_cast<double>(width)) : 1.0;
}

at::Tensor head_scores(Head const& head, at::Tensor const& features, HeadOptions const& options) {
  auto rows = (features * scale_of_features(features.size(1), options)).contiguous();
  for (auto const& layer : head.hidden) rows = at::relu(at::linear(rows, layer.weight, layer.bias));
  return at::addmm(head.bias, rows, head.weight.t());
}

at::Tensor predict(Head const& head, at::Tensor const& features, HeadOptions const& options) {
  c10::InferenceMode const no_graph;
  auto const cells = features.size(0);
  auto predicted = at::empty({cells}, at::kLong);
  auto* const to = predicted.data_ptr<std::int64_t>();
  auto const classes = head.weight.size(0);
  for (std::int64_t begin = 0; begin < cells; begin += block_rows) {
    auto const n = std::min(block_rows, cells - begin);
    auto const scores = head_scores(head, features.narrow(0, begin, n), options);  // [n, classes]
    float const* const score = scores.data_ptr<float>();
    for (std::int64_t i = 0; i < n; ++i)
      to[begin + i] = std::max_element(score + i * classes, score + (i + 1) * classes) - (score + i * classes);
  }
  return predicted;
}

Scores score(at::Tensor const& predicted, at::Tensor const& truth, std::int64_t classes) {
  auto const own_predicted = predicted.contiguous(), own_truth = truth.contiguous();
  auto const* const given = own_predicted.data_ptr<std::int64_t>();
  auto const* const wanted = own_truth.data_ptr<std::int64_t>();
  auto const size = index(classes);
  std::vector<std::int64_t> right(size), of_truth(size), of_predicted(size);
  for (std::int64_t i = 0; i < truth.size(0); ++i) {
    auto const t = index(wanted[i]), p = index(given[i]);
    ++of_truth[t];
    ++of_predicted[p];
    if (t == p) ++right[t];
  }
  Scores scores;
  scores.recall.assign(size, std::numeric_limits<double>::quiet_NaN());
  std::int64_t all_right = 0, present = 0;
  for (std::size_t c = 0; c < size; ++c) {
    if (!of_truth[c]) continue;
    ++present;
    all_right += right[c];
    scores.recall[c] = 100.0 * static_cast<double>(right[c]) / static_cast<double>(of_truth[c]);
    scores.macro_f1 += 200.0 * static_cast<double>(right[c]) / static_cast<double>(of_truth[c] + of_predicted[c]);
  }
  if (present) {
    scores.accuracy = 100.0 * static_cast<double>(all_right) / static_cast<double>(truth.size(0));
    scores.macro_f1 /= static_cast<double>(present);
  }
  return scores;
}

}  // namespace retort
