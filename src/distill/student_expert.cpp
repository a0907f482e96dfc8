#include "retort/distill/student_expert.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "retort/distill/layer_gradients.hpp"

namespace retort {
namespace {

void descend(Head const& head, at::Tensor const& gradient, double rate) {
  auto const layers = layers_of(head);
  auto const gradients = layer_gradients(gradient.unsqueeze(0), head);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::int64_t const in = layers[i].weight.size(1);
    layers[i].weight.sub_(gradients[i][0].narrow(1, 0, in), rate);
    layers[i].bias.sub_(gradients[i][0].select(1, in), rate);
  }
}

}  // namespace

StudentExpertMatch match_student_expert(ExpertGradients const& experts, Head const& start, at::Tensor const& features,
                                        at::Tensor const& labels, double feature_scale,
                                        StudentExpertOptions const& options, std::uint64_t seed, std::uint64_t number) {
  at::NoGradGuard const no_graph;
  Head student = copy_of(start), expert = copy_of(start);
  at::Tensor const seen = features * feature_scale;
  StudentExpertMatch sum{0, at::zeros_like(features)};
  for (std::int64_t epoch = 0;; ++epoch) {
    at::Tensor const real = experts(expert, number);
    auto const matched = match_head_gradients(seen, 0, student, real, options.metric);
    sum.loss += matched.losses.sum(at::kDouble).item<double>();
    sum.gradient.add_(matched.gradient, feature_scale);
    if (epoch == options.epochs) return sum;
    train_further(student, features, labels, options.student, seed,
                  number + (static_cast<std::uint64_t>(epoch) << 44));  // another order each
    descend(expert, experts.over_all_cells(real), options.student.rate);
  }
}

}  // namespace retort
