#include "retort/fidelity/embedding_classes.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <vector>

#include "retort/audits/auc.hpp"
#include "retort/cells/dense_cells.hpp"
#include "retort/models/regression_loss.hpp"
#include "retort/run/index.hpp"
#include "retort/training/lbfgs.hpp"

namespace retort {
namespace {

// The mean over positives of the precision at their score, cells of equal score taken together.
double average_precision(std::span<double const> scores, std::vector<bool> const& is_positive) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return scores[a] > scores[b]; });
  double sum = 0, taken = 0, right = 0;
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    double found = 0;
    for (; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end) found += is_positive[order[end]];
    taken += static_cast<double>(end - begin);
    right += found;
    sum += found * right / taken;
  }
  return sum / right;
}

struct MeanOfNumbers {
  double sum = 0, count = 0;
  void add(double value) { sum += value, ++count; }
  double mean() const { return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN(); }
};

}  // namespace

EmbeddingScores score_of_scores(at::Tensor const& scores, at::Tensor const& truth) {
  auto const cells = scores.size(0), classes = scores.size(1);
  auto const of_class = scores.to(at::kDouble).t().contiguous();  // [classes, n]
  // at::argmax names any of equal scores.
  auto const highest = (of_class == of_class.amax(0)).to(at::kLong);
  auto const predicted = (highest * at::arange(classes, 0, -1, at::kLong).unsqueeze(1)).argmax(0);
  auto const reached = score(predicted, truth, classes);
  MeanOfNumbers roc, precision_recall;
  for (std::int64_t c = 0; c < classes; ++c) {
    double const* const of_cell = of_class.const_data_ptr<double>() + c * cells;
    std::vector<bool> is_positive;
    std::vector<double> positives, negatives;
    for (std::int64_t i = 0; i < cells; ++i) {
      is_positive.push_back(truth.const_data_ptr<std::int64_t>()[i] == c);
      (is_positive.back() ? positives : negatives).push_back(of_cell[i]);
    }
    if (positives.empty() || negatives.empty()) continue;
    roc.add(auc(positives, negatives).value);
    precision_recall.add(average_precision({of_cell, index(cells)}, is_positive));
  }
  return {reached.accuracy, reached.macro_f1, roc.mean(), precision_recall.mean()};
}

at::Tensor neighbour_votes(Communicator const& ranks, LabelledFeatures const& train, at::Tensor const& test,
                           std::int64_t classes, std::int64_t k) {
  constexpr std::int64_t block_rows = 256;
  auto const own = share_of(test.size(0), ranks.rank(), ranks.size(), block_rows);
  std::vector<double> votes;  // of own rows
  ranks.together([&] {
    c10::InferenceMode const no_graph;
    at::Tensor const known = train.features.to(at::kDouble), squares = known.square().sum(1);
    auto const near = std::min(k, known.size(0));
    for (auto begin = own.begin; begin < own.end; begin += block_rows) {
      at::Tensor const rows = test.narrow(0, begin, std::min(block_rows, own.end - begin)).to(at::kDouble);
      // |a - b|^2 without |a|^2, which is the same for all neighbours.
      at::Tensor const nearest =
          std::get<1>((squares - 2 * at::mm(rows, known.t())).topk(near, 1, false));  // [rows, near]
      at::Tensor const of_rows = at::zeros({rows.size(0), classes}, at::kDouble);
      of_rows.scatter_add_(1, train.labels.index_select(0, nearest.flatten()).view_as(nearest),
                           at::full(nearest.sizes(), 1.0 / static_cast<double>(near), at::kDouble));
      votes.insert(votes.end(), of_rows.const_data_ptr<double>(), of_rows.const_data_ptr<double>() + of_rows.numel());
    }
  });
  return at::tensor(ranks.gather(std::span<double const>(votes)), at::kDouble).view({test.size(0), classes});
}

at::Tensor regression_probabilities(Communicator const& ranks, ShardPlan const& plan, LabelledFeatures const& train,
                                    at::Tensor const& test, std::int64_t classes) {
  at::Tensor mean, scale;
  std::vector<LabelledCells> own;
  auto const cells = train.features.size(0), width = train.features.size(1);
  ranks.together([&] {
    at::Tensor const x = train.features.to(at::kDouble);
    mean = x.mean(0);
    auto const deviation = x.std(0, false);
    scale = at::where(deviation > 0, deviation, at::ones_like(deviation));
    at::Tensor const standardised = ((x - mean) / scale).to(at::kFloat).contiguous();
    for (int shard = plan.begin(); shard < plan.end(); ++shard) {
      auto const rows = share_of(cells, shard, plan.shards());
      auto& one = own.emplace_back();
      one.cells =
          compressed({standardised.const_data_ptr<float>() + rows.begin * width, index(rows.size() * width)}, width);
      for (auto row = rows.begin; row < rows.end; ++row)
        one.labels.push_back(static_cast<std::int32_t>(train.labels.const_data_ptr<std::int64_t>()[row]));
    }
  });
  RegressionLoss loss(ranks, plan, own, width, classes);
  double const penalty = 1 / static_cast<double>(cells);
  auto const found = minimise([&](auto const& x, auto& gradient) { return loss(x, gradient, penalty); },
                              std::vector<double>(index(loss.size())), {.most_iterations = 100});
  at::Tensor const weight = at::tensor(found.x, at::kDouble);
  return at::softmax(at::addmm(weight.narrow(0, width * classes, classes), (test.to(at::kDouble) - mean) / scale,
                               weight.narrow(0, 0, width * classes).view({width, classes})),
                     1);
}

nlohmann::json json_of(EmbeddingScores const& scores) {
  auto const number = [](double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); };
  return {{"accuracy", number(scores.accuracy)},
          {"macro_f1", number(scores.macro_f1)},
          {"roc_auc", number(scores.roc_auc)},
          {"pr_auc", number(scores.pr_auc)}};
}

}  // namespace retort
