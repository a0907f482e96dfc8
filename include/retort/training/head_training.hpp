// Training linear heads on frozen features: the protocol by which every set is judged (DC-BENCH's, as scDD IV-C names it).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/run/option_table.hpp"

namespace retort {

// Section [head]; the same for every row of every table. SGD with momentum; the rate falls by 10 after half the epochs.
struct HeadOptions {
  std::int64_t epochs = 1000;
  double rate = 0.01;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  std::int64_t batch = 256;
  bool scale_features = true;  // by sqrt(width): unit-norm features leave the head unconverged at this rate
  bool rate_falls = true;      // not a setting: the inner loop of gradient matching keeps its rate
};
void add_head_options(OptionTable& table, HeadOptions& options);

struct LinearHead {
  at::Tensor weight;  // [classes, width]
  at::Tensor bias;    // [classes]
};

// PyTorch's default initialisation, U(-1/sqrt(width), 1/sqrt(width)), drawn from (seed, index).
LinearHead initial_head(std::int64_t classes, std::int64_t width, std::uint64_t seed, std::uint64_t index);
// Features [n, width] float32 on the CPU, labels int64 [n]. Head `index` of `seed`: its initial weights and the order of
// its batches depend on nothing else; Random(seed, purpose::head_order, index, epoch) shuffles the rows of an epoch.
// Closed-form gradients, no autograd graph. Not collective.
LinearHead train_head(at::Tensor const& features, at::Tensor const& labels, std::int64_t classes, HeadOptions const& options,
                      std::uint64_t seed, std::uint64_t index);
// The same from the weights that `head` has, in place; its momentum begins at zero.
void train_further(LinearHead& head, at::Tensor const& features, at::Tensor const& labels, HeadOptions const& options, std::uint64_t seed,
                   std::uint64_t index);
// int64 [n]: the class with the highest score; ties go to the lower class. Work is cut into blocks of fixed size.
at::Tensor predict(LinearHead const& head, at::Tensor const& features, HeadOptions const& options);

struct Scores {
  double accuracy = 0;               // per cent
  double macro_f1 = 0;               // per cent, mean over classes that occur in `truth`
  std::vector<double> recall;        // per cent a class; NaN for a class that does not occur
};
Scores score(at::Tensor const& predicted, at::Tensor const& truth, std::int64_t classes);

}  // namespace retort
