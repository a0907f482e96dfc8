// Training heads on frozen features: the protocol by which every set is judged (DC-BENCH's, as scDD IV-C names it).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "retort/models/head_pass.hpp"
#include "retort/run/option_table.hpp"

namespace retort {

// Section [head]; the same for every row of every table. SGD with momentum; the rate falls by 10 after half the passes.
struct HeadOptions {
  std::int64_t epochs = 1000;
  std::int64_t most_steps = 50'000;  // a large set is passed over less often
  double rate = 0.01;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  std::int64_t batch = 256;
  std::vector<std::int64_t> hidden{};  // widths of hidden layers; empty: a linear head
  bool scale_features = true;          // by sqrt(width): unit-norm features leave the head unconverged at this rate
  bool rate_falls = true;              // not a setting: the inner loop of gradient matching keeps its rate
  // How often a set of so many cells is passed over, at least once.
  std::int64_t passes_over(std::int64_t cells) const;
};
void add_head_options(OptionTable& table, HeadOptions& options);
// Throws Failure(usage) for values that cannot be meant.
void check_head_options(HeadOptions const& options);

// PyTorch's default initialisation, U(-1/sqrt(in), 1/sqrt(in)) of each layer in order, drawn from (seed, number).
Head initial_head(std::int64_t classes, std::int64_t width, std::uint64_t seed, std::uint64_t number,
                  std::vector<std::int64_t> const& hidden = {});
// Features [n, width] float32 on the CPU, labels int64 [n]. Head `number` of `seed`: its initial weights and the order
// of its batches depend on nothing else; Random(seed, purpose::head_order, number, epoch) shuffles an epoch's rows.
// Gradients written out, no autograd graph. Not collective.
Head train_head(at::Tensor const& features, at::Tensor const& labels, std::int64_t classes, HeadOptions const& options,
                std::uint64_t seed, std::uint64_t number);
// The same from the weights that `head` has, in place; its momentum begins at zero.
void train_further(Head& head, at::Tensor const& features, at::Tensor const& labels, HeadOptions const& options,
                   std::uint64_t seed, std::uint64_t number);
// What features of this width are multiplied by before a head sees them.
double scale_of_features(std::int64_t width, HeadOptions const& options);
// Scores [n, classes] of features [n, width], through all layers of the head.
at::Tensor head_scores(Head const& head, at::Tensor const& features, HeadOptions const& options);
// int64 [n]: the class with the highest score; ties go to the lower class. Work is cut into blocks of fixed size.
at::Tensor predict(Head const& head, at::Tensor const& features, HeadOptions const& options);

struct Scores {
  double accuracy = 0;         // per cent
  double macro_f1 = 0;         // per cent, mean over classes that occur in `truth`
  std::vector<double> recall;  // per cent a class; NaN for a class that does not occur
};
Scores score(at::Tensor const& predicted, at::Tensor const& truth, std::int64_t classes);

}  // namespace retort
