#include "retort/models/regression_loss.hpp"

#include <algorithm>
#include <cmath>

#include "retort/kernels/sparse_linear.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

CsrBlock transpose(CsrBlock const& cells) {
  CsrBlock out;
  out.genes = cells.rows();
  out.indptr.assign(index(cells.genes) + 1, 0);
  out.indices.resize(cells.indices.size());
  out.values.resize(cells.values.size());
  for (auto const gene : cells.indices) ++out.indptr[index(gene) + 1];
  for (std::size_t g = 0; g < index(cells.genes); ++g) out.indptr[g + 1] += out.indptr[g];
  auto next = out.indptr;
  for (std::int64_t i = 0; i < cells.rows(); ++i) {
    for (auto k = index(cells.indptr[index(i)]); k < index(cells.indptr[index(i) + 1]); ++k) {
      auto const place = index(next[index(cells.indices[k])]++);
      out.indices[place] = static_cast<std::int32_t>(i);
      out.values[place] = cells.values[k];
    }
  }
  return out;
}

}  // namespace

RegressionLoss::RegressionLoss(Communicator const& ranks, ShardPlan const& plan, std::vector<LabelledCells> const& own,
                               std::int64_t genes, std::int64_t classes)
    : own_(own),
      genes_(genes),
      classes_(classes),
      lanes_((classes + 15) / 16 * 16),
      first_shard_(plan.begin()),
      weight_(index(genes * lanes_)),
      bias_(index(lanes_)),
      sum_(ranks, plan, (genes + 1) * classes + 1) {
  std::int64_t cells = 0;
  for (auto const& shard : own_) {
    by_gene_.push_back(transpose(shard.cells));
    cells += shard.cells.rows();
  }
  cells_ = ranks.sum(cells);
}

std::vector<double> RegressionLoss::sum_of_shard(LabelledCells const& shard, CsrBlock const& by_gene) const {
  auto const rows = shard.cells.rows();
  std::vector<double> sums(index(size() + 1));
  std::vector<float> scores(index(rows * lanes_));
  sparse_product(shard.cells, {0, rows}, weight_.data(), bias_.data(), lanes_, scores.data());
  double loss = 0;
  for (std::int64_t i = 0; i < rows; ++i) {  // scores become softmax minus one-hot
    float* const score = scores.data() + i * lanes_;
    auto const label = shard.labels[index(i)];
    double const largest = static_cast<double>(*std::max_element(score, score + classes_));
    double total = 0;
    for (std::int64_t c = 0; c < classes_; ++c) total += std::exp(static_cast<double>(score[c]) - largest);
    loss += std::log(total) + largest - static_cast<double>(score[label]);
    for (std::int64_t c = 0; c < classes_; ++c) {
      double const error = std::exp(static_cast<double>(score[c]) - largest) / total - (c == label ? 1.0 : 0.0);
      score[c] = static_cast<float>(error);
      sums[index(genes_ * classes_ + c)] += error;
    }
    std::fill(score + classes_, score + lanes_, 0.0F);
  }
  std::vector<float> const nothing(index(lanes_));
  std::vector<float> gradient(index(genes_ * lanes_));
  sparse_product(by_gene, {0, genes_}, scores.data(), nothing.data(), lanes_, gradient.data());
  for (std::int64_t g = 0; g < genes_; ++g)
    for (std::int64_t c = 0; c < classes_; ++c)
      sums[index(g * classes_ + c)] = static_cast<double>(gradient[index(g * lanes_ + c)]);
  sums.back() = loss;
  return sums;
}

double RegressionLoss::operator()(std::vector<double> const& x, std::vector<double>& gradient, double penalty) {
  for (std::int64_t g = 0; g < genes_; ++g)
    for (std::int64_t c = 0; c < classes_; ++c)
      weight_[index(g * lanes_ + c)] = static_cast<float>(x[index(g * classes_ + c)]);
  for (std::int64_t c = 0; c < classes_; ++c) bias_[index(c)] = static_cast<float>(x[index(genes_ * classes_ + c)]);
  for (std::size_t i = 0; i < sum_.blocks().size(); ++i) {
    auto const [begin, width] = sum_.blocks()[i];
    ShardTree<double> tree(size() + 1);
    for (int shard = begin; shard < begin + width; ++shard) {
      auto const own = index(shard - first_shard_);
      tree.add(sum_of_shard(own_[own], by_gene_[own]));
    }
    tree.take(sum_.block(i));
  }
  auto const sums = sum_.sum();
  auto const cells = static_cast<double>(cells_);
  double squares = 0;
  for (std::size_t i = 0; i < index(size()); ++i) {
    bool const is_weight = i < index(genes_ * classes_);
    gradient[i] = sums[i] / cells + (is_weight ? penalty * x[i] : 0.0);
    if (is_weight) squares += x[i] * x[i];
  }
  return sums.back() / cells + penalty / 2 * squares;
}

std::vector<std::int64_t> predict_classes(CsrBlock const& cells, std::span<float const> weight,
                                          std::span<float const> bias) {
  auto const classes = static_cast<std::int64_t>(bias.size());
  std::vector<float> scores(index(cells.rows() * classes));
  sparse_product(cells, {0, cells.rows()}, weight.data(), bias.data(), classes, scores.data());
  std::vector<std::int64_t> predicted;
  for (std::int64_t i = 0; i < cells.rows(); ++i) {
    float const* const score = scores.data() + i * classes;
    predicted.push_back(std::max_element(score, score + classes) - score);
  }
  return predicted;
}

}  // namespace retort
