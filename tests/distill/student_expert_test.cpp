// A student and an expert: against two heads trained by autograd, and on any number of ranks.
#include "retort/distill/student_expert.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "retort/distill/layer_gradients.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t classes = 3, width = 10, spc = 2;
constexpr double scale = 3;

struct World {
  std::vector<std::vector<std::int64_t>> rows_by_class;
  at::Tensor real, truth, features, labels;

  World() {
    at::manual_seed(51);
    std::vector<at::Tensor> of_class;
    std::int64_t row = 0;
    for (std::int64_t const cells : {2, 9, 30}) {
      of_class.push_back(at::full({cells}, std::ssize(rows_by_class), at::kLong));
      auto& rows = rows_by_class.emplace_back();
      for (std::int64_t i = 0; i < cells; ++i) rows.push_back(row++);
    }
    truth = at::cat(of_class);
    real = at::randn({row, width}) * 0.3 + at::randn({classes, width}).index_select(0, truth);
    features = at::randn({classes * spc, width}) * 0.5;
    labels = at::arange(classes, at::kLong).repeat_interleave(spc);
  }
  StudentExpertMatch matched(Communicator const& ranks, Head const& start, std::vector<std::int64_t> const& hidden,
                             std::int64_t epochs, GradientMetric metric, std::int64_t sample = 0) const {
    ShardPlan const plan(4, ranks.rank(), ranks.size());
    auto const read = [this](std::span<std::int64_t const> rows) {
      return real.index_select(0, at::tensor(std::vector<std::int64_t>(rows.begin(), rows.end()), at::kLong));
    };
    RealFeatures const own(read, width, rows_by_class, plan, scale);
    ExpertGradients const experts(ranks, plan, own, hidden, sample, 1);
    HeadOptions epoch{.epochs = 1,
                      .rate = 0.05,
                      .momentum = 0,
                      .weight_decay = 0,
                      .batch = 256,
                      .scale_features = false,
                      .rate_falls = false};
    // Scaling is the caller's here: the head's own, sqrt(width), is not `scale`.
    return match_student_expert(experts, start, features * scale, labels, 1, {metric, epoch, epochs}, 7, 9);
  }
};

// Plain gradient descent on the mean cross-entropy, by autograd, in double.
std::vector<at::Tensor> parameters_of(Head const& head) {
  std::vector<at::Tensor> parameters;
  for (auto const& layer : layers_of(head))
    parameters.insert(parameters.end(), {layer.weight.to(at::kDouble), layer.bias.to(at::kDouble)});
  return parameters;
}
std::vector<at::Tensor> gradient_of(std::vector<at::Tensor> const& parameters, at::Tensor const& rows,
                                    at::Tensor const& labels, bool create_graph) {
  at::Tensor value = rows;
  std::vector<at::Tensor> leaves;
  for (auto const& parameter : parameters) leaves.push_back(parameter.detach().clone().requires_grad_(true));
  for (std::size_t i = 0; i < leaves.size(); i += 2)
    value = at::linear(i ? at::relu(value) : value, leaves[i], leaves[i + 1]);
  return torch::autograd::grad({at::cross_entropy_loss(value, labels)}, leaves, {}, create_graph, create_graph);
}

TEST(StudentExpert, EqualsTwoHeadsTrainedByAutograd) {
  World const world;
  auto const ranks = Communicator::world();
  for (std::vector<std::int64_t> const& hidden : {std::vector<std::int64_t>{}, std::vector<std::int64_t>{8}}) {
    Head const start = initial_head(classes, width, 2, 3, hidden);
    for (std::int64_t const epochs : {0, 4}) {
      auto const ours = world.matched(ranks, start, hidden, epochs, GradientMetric::flat);
      auto student = parameters_of(start), expert = student;
      at::Tensor const set = (world.features * scale).to(at::kDouble).requires_grad_(true),
                       real = world.real.to(at::kDouble) * scale;
      at::Tensor loss = at::zeros({}, at::kDouble);
      for (std::int64_t epoch = 0; epoch <= epochs; ++epoch) {
        for (std::int64_t c = 0; c < classes; ++c) {
          auto const& rows = world.rows_by_class[index(c)];
          auto const of_set = gradient_of(student, set.narrow(0, c * spc, spc), at::full({spc}, c, at::kLong), true);
          auto const of_real = gradient_of(expert, real.narrow(0, rows[0], std::ssize(rows)),
                                           at::full({std::ssize(rows)}, c, at::kLong), false);
          at::Tensor u = at::zeros({0}, at::kDouble), r = u;
          for (std::size_t i = 0; i < of_set.size(); ++i)
            u = at::cat({u, of_set[i].flatten()}), r = at::cat({r, of_real[i].flatten()});
          loss = loss + 1 - (u * r).sum() / (u.norm() * r.norm() + cosine_guard);
        }
        auto const step = [](std::vector<at::Tensor>& parameters, std::vector<at::Tensor> const& gradient) {
          for (std::size_t i = 0; i < parameters.size(); ++i)
            parameters[i] = (parameters[i] - 0.05 * gradient[i]).detach();
        };
        step(student, gradient_of(student, set, world.labels, false));
        step(expert, gradient_of(expert, real, world.truth, false));
      }
      at::Tensor const gradient = torch::autograd::grad({loss}, {set})[0];
      EXPECT_NEAR(ours.loss, loss.item<double>(), 1e-5 * loss.item<double>()) << epochs;
      EXPECT_LT((ours.gradient - gradient).abs().max().item<double>(), 1e-4 * gradient.abs().max().item<double>())
          << epochs;
    }
  }
}

TEST(StudentExpert, SameBitsOnAnyNumberOfRanks) {
  World const world;
  for (std::vector<std::int64_t> const& hidden : {std::vector<std::int64_t>{}, std::vector<std::int64_t>{8}})
    for (std::int64_t const sample : {0, 8}) {
      Head const start = initial_head(classes, width, 2, 3, hidden);
      auto const together = world.matched(Communicator::world(), start, hidden, 3, GradientMetric::rows, sample),
                 alone = world.matched(Communicator::serial(), start, hidden, 3, GradientMetric::rows, sample);
      EXPECT_EQ(together.loss, alone.loss);
      EXPECT_TRUE(at::equal(together.gradient, alone.gradient));
    }
}

}  // namespace
}  // namespace retort
