#include "retort/evaluate/teaching.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "retort/cells/csr_rows.hpp"
#include "retort/cells/dense_cells.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/training/flat_adamw.hpp"
#include "retort/training/learning_rate.hpp"

namespace retort {
TeachingCells teaching_cells(at::Tensor const& cells, at::Tensor const& labels, std::int64_t classes) {
  TeachingCells teaching{std::vector<std::vector<std::int64_t>>(index(classes)), {}};
  for (std::int64_t row = 0; row < labels.size(0); ++row)
    teaching.by_class[index(labels[row].item<std::int64_t>())].push_back(row);
  teaching.read = [own = cells.to(at::kFloat).contiguous()](std::span<std::int64_t const> rows) {
    return compressed_rows(own.const_data_ptr<float>(), own.size(1), rows);
  };
  return teaching;
}

void teach(Communicator const& ranks, ShardPlan const& plan, Student& student, TeachingCells const& cells,
           TeachingOptions const& options, std::uint64_t seed, std::uint64_t number) {
  std::vector<std::int64_t> present;
  for (std::size_t c = 0; c < cells.by_class.size(); ++c)
    if (!cells.by_class[c].empty()) present.push_back(static_cast<std::int64_t>(c));
  if (present.empty()) fail(ExitCode::bad_input, "a set has no cells (nothing can be learned from it)");

  std::vector<at::Tensor> parameters;
  for (auto const& [name, parameter] : student.parameters()) parameters.push_back(parameter);
  GradientArena arena(ranks, plan, parameters, 1);
  FlatAdamw optimiser(arena, {.weight_decay = options.weight_decay});
  std::int64_t const cells_of_a_shard = (options.batch + plan.shards() - 1) / plan.shards();
  for (std::int64_t step = 0; step < options.steps; ++step) {
    std::uint64_t const step_of_network = number << 32 | static_cast<std::uint64_t>(step);
    for (int shard = arena.first_shard(); shard < arena.end_shard(); ++shard) {
      Random draw(seed, purpose::student_cells, step_of_network, static_cast<std::uint32_t>(shard));
      std::vector<std::int64_t> rows, labels;
      for (std::int64_t i = 0; i < cells_of_a_shard; ++i) {
        labels.push_back(present[draw.below(present.size())]);
        auto const& of_class = cells.by_class[index(labels.back())];
        rows.push_back(of_class[draw.below(of_class.size())]);
      }
      Random dropout(seed, purpose::student_dropout, step_of_network, static_cast<std::uint32_t>(shard));
      arena.begin_shard(shard);
      at::Tensor const loss =
          at::cross_entropy_loss(student.scores(cells.read(rows), &dropout), at::tensor(labels, at::kLong)) /
          static_cast<double>(plan.shards());
      loss.backward();
      arena.statistics().add_(loss.detach());
    }
    at::Tensor const gradient = arena.sum();
    double const loss = arena.summed_statistics()[0].item<double>();
    auto const refuse = [&] {
      if (!std::isfinite(loss))
        fail(ExitCode::failed,
             "a classifier's loss is {} at step {} (training diverged, or a cell's values are not finite)", loss, step);
    };
    ranks.size() > 1 ? ranks.together(refuse)
                     : refuse();  // alone, it is one rank's failure among several, and not agreed
    optimiser.step(gradient, learning_rate(step, options.steps, options.rate, 0));
  }
  for (at::Tensor& parameter : parameters) parameter.mutable_grad() = at::Tensor();  // it lay in the arena
}

std::vector<std::int64_t> predict(Student const& student, CsrBlock const& cells) {
  at::NoGradGuard const no_graph;
  std::vector<std::int64_t> predicted;
  for (std::int64_t begin = 0; begin < cells.rows(); begin += rows_of_a_prediction) {
    at::Tensor const scores =
        student.scores(cut_to_rows(cells, {begin, std::min(cells.rows(), begin + rows_of_a_prediction)}), nullptr)
            .contiguous();
    float const* const score = scores.const_data_ptr<float>();
    for (std::int64_t i = 0, classes = scores.size(1); i < scores.size(0); ++i)
      predicted.push_back(std::max_element(score + i * classes, score + (i + 1) * classes) - (score + i * classes));
  }
  return predicted;
}

}  // namespace retort
