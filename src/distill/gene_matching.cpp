#include "retort/distill/gene_matching.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "retort/run/index.hpp"

namespace retort {

struct GeneMatching::State {
  std::int64_t genes, classes;
  std::vector<LabelledCells> own;       // one entry a shard of this rank
  std::optional<RegressionLoss> outer;  // over all ranks' cells

  // Collective: the loss of a student, and its derivatives by weight and bias.
  double evaluate(GeneStudent const& student, at::Tensor& by_weight, at::Tensor& by_bias) {
    at::Tensor const flat = at::cat({student.weight().reshape({-1}), student.bias()}).contiguous();
    std::vector<double> const x(flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel());
    std::vector<double> gradient(x.size());
    double const value = (*outer)(x, gradient, 0);
    at::Tensor const all = at::tensor(gradient, at::kDouble);
    by_weight = all.narrow(0, 0, genes * classes).view({genes, classes});
    by_bias = all.narrow(0, genes * classes, classes);
    return value;
  }
};

GeneMatching::GeneMatching(Communicator const& ranks, ShardPlan const& plan, Read const& read,
                           std::vector<std::vector<std::int64_t>> const& rows_by_class, std::int64_t genes,
                           std::int64_t most_cells)
    : state_(std::make_unique<State>()) {
  state_->genes = genes;
  state_->classes = std::ssize(rows_by_class);
  std::int64_t const all = std::accumulate(rows_by_class.begin(), rows_by_class.end(), std::int64_t{0},
                                           [](std::int64_t sum, auto const& rows) { return sum + std::ssize(rows); });
  double const share = std::min(1.0, static_cast<double>(most_cells) / static_cast<double>(all));
  ranks.together([&] {
    for (int shard = plan.begin(); shard < plan.end(); ++shard) {
      std::vector<std::int64_t> rows;
      LabelledCells& own = state_->own.emplace_back();
      for (std::size_t c = 0; c < rows_by_class.size(); ++c) {
        auto const wanted = static_cast<std::int64_t>(
            std::ceil(share * static_cast<double>(rows_by_class[c].size())));  // the atlas is shuffled
        RowRange const part = share_of(wanted, shard, plan.shards());
        rows.insert(rows.end(), rows_by_class[c].begin() + part.begin, rows_by_class[c].begin() + part.end);
        own.labels.insert(own.labels.end(), index(part.size()), static_cast<std::int32_t>(c));
      }
      own.cells = read(rows);
    }
  });
  state_->outer.emplace(ranks, plan, state_->own, genes, state_->classes);
}
GeneMatching::~GeneMatching() = default;

GeneMatching::Result GeneMatching::operator()(at::Tensor const& cells, at::Tensor const& labels) const {
  GeneStudent const student(cells, labels, state_->classes);
  at::Tensor by_weight, by_bias;
  double const value = state_->evaluate(student, by_weight, by_bias);
  return {value, student.back(by_weight, by_bias).to(at::kFloat)};
}

double GeneMatching::loss(at::Tensor const& cells, at::Tensor const& labels) const {
  at::Tensor by_weight, by_bias;
  return state_->evaluate(GeneStudent(cells, labels, state_->classes), by_weight, by_bias);
}

}  // namespace retort
