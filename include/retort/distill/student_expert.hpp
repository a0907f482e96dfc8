// scDD's gradient matching as its eq 5 and algorithm 1 write it: two heads from one start, a student that learns from
// the synthetic set and an expert that learns from the real cells, each giving the gradients of its own data at its own
// weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "retort/distill/expert_gradients.hpp"
#include "retort/kernels/linear_head_gradient.hpp"
#include "retort/models/head_training.hpp"

namespace retort {

struct StudentExpertOptions {
  GradientMetric metric = GradientMetric::rows;
  HeadOptions student;  // of one epoch on the set, see train_further; its rate is the expert's too
  std::int64_t epochs = 1;
};

struct StudentExpertMatch {
  double loss = 0;  // sum over classes and over epochs 0 ... epochs
  at::Tensor
      gradient;  // by the features [n, width]; the student's training is taken as given, as gradient matching does
};

// Collective. Features [n, width], the same on all ranks, sorted by class; labels int64 [n]; `feature_scale`: of what
// heads see. An epoch of the student is train_further's; one of the expert is a step down the gradient of all real
// cells, which the experts' class gradients hold already. Heads begin at `start`, which is not changed. `number` names
// the sample of real cells and the order of the student's batches. Bit-equal on any number of ranks.
StudentExpertMatch match_student_expert(ExpertGradients const& experts, Head const& start, at::Tensor const& features,
                                        at::Tensor const& labels, double feature_scale,
                                        StudentExpertOptions const& options, std::uint64_t seed, std::uint64_t number);

}  // namespace retort
