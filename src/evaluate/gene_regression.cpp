#include "retort/evaluate/gene_regression.hpp"

#include <algorithm>
#include <cmath>

#include "retort/cells/csr_rows.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

void append(LabelledCells& to, LabelledCells const& what) {
  append_rows(to.cells, what.cells);
  to.labels.insert(to.labels.end(), what.labels.begin(), what.labels.end());
}

// The parts of an atlas, with a held-out one in any case: where there is none, every fifth cell of the fit part.
std::vector<Part> parts_to_choose_by(Atlas const& atlas) {
  auto parts = atlas.parts();
  if (std::find(parts.begin(), parts.end(), Part::held_out) != parts.end()) return parts;
  std::int64_t fit = 0;
  for (Part& part : parts)
    if (part == Part::fit && fit++ % 5 == 4) part = Part::held_out;
  return parts;
}

// The rows of each of this rank's shards that are of `part`.
std::vector<LabelledCells> read_part(ShardPlan const& plan, Atlas const& atlas, Labels const& labels,
                                     std::vector<Part> const& parts, Part part) {
  std::vector<LabelledCells> shards;
  for (int shard = plan.begin(); shard < plan.end(); ++shard) {
    auto const range = share_of(atlas.cells(), shard, plan.shards());
    std::vector<std::int64_t> rows;
    LabelledCells& own = shards.emplace_back();
    for (auto row = range.begin; row < range.end; ++row) {
      if (parts[index(row)] != part) continue;
      rows.push_back(row);
      own.labels.push_back(labels.codes[index(row)]);
    }
    own.cells = atlas.read_log(rows);
  }
  return shards;
}

// Mean and variance of each gene.
struct Moments {
  std::vector<double> mean, variance;
};

// Collective.
Moments moments_of(Communicator const& ranks, ShardPlan const& plan, std::vector<LabelledCells> const& own,
                   std::int64_t genes) {
  auto const sums = ordered_sum<double>(ranks, plan, 2 * genes + 1, [&](int shard) {
    std::vector<double> sum(index(2 * genes + 1));
    auto const& cells = own[index(shard - plan.begin())].cells;
    for (std::size_t k = 0; k < cells.values.size(); ++k) {
      auto const value = static_cast<double>(cells.values[k]);
      sum[index(cells.indices[k])] += value;
      sum[index(genes + cells.indices[k])] += value * value;
    }
    sum.back() = static_cast<double>(cells.rows());
    return sum;
  });
  Moments moments;
  for (std::int64_t g = 0; g < genes; ++g) {
    double const mean = sums[index(g)] / sums.back();
    moments.mean.push_back(mean);
    moments.variance.push_back(std::max(0.0, sums[index(genes + g)] / sums.back() - mean * mean));
  }
  return moments;
}

// Collective: the minimum on `cells`, from `start`. The search walks in other coordinates, in which it takes far fewer
// steps: the bias is that of centred genes (the mean of expression is by far the longest axis, and centring the cells
// themselves would fill them), and a gene's weights are measured by the inverse root of the Hessian's diagonal, in
// which p (1 - p) of an average class stands for all.
Minimum search(Communicator const& ranks, ShardPlan const& plan, std::vector<LabelledCells> const& cells,
               std::int64_t genes, std::int64_t classes, double penalty, std::vector<double> start,
               LbfgsOptions const& options) {
  RegressionLoss loss(ranks, plan, cells, genes, classes);
  auto const moments = moments_of(ranks, plan, cells, genes);
  double const share = 1.0 / static_cast<double>(classes), spread = share * (1 - share) + 1e-9;
  std::vector<double> lengths;  // of each gene
  for (double const variance : moments.variance) lengths.push_back(1 / std::sqrt(spread * variance + penalty));
  auto const first_bias = index(genes * classes);
  double const bias_length = 1 / std::sqrt(spread);

  auto const to_plain = [&](std::vector<double> const& walked) {
    auto x = walked;
    for (std::size_t c = 0; c < index(classes); ++c) x[first_bias + c] *= bias_length;
    for (std::size_t i = 0; i < first_bias; ++i) {
      x[i] *= lengths[i / index(classes)];
      x[first_bias + i % index(classes)] -= moments.mean[i / index(classes)] * x[i];
    }
    return x;
  };
  auto const walked_loss = [&](std::vector<double> const& walked, std::vector<double>& gradient) {
    double const value = loss(to_plain(walked), gradient, penalty);
    for (std::size_t i = 0; i < first_bias; ++i)
      gradient[i] = (gradient[i] - moments.mean[i / index(classes)] * gradient[first_bias + i % index(classes)]) *
                    lengths[i / index(classes)];
    for (std::size_t c = 0; c < index(classes); ++c) gradient[first_bias + c] *= bias_length;
    return value;
  };
  for (std::size_t i = 0; i < first_bias; ++i) {
    start[first_bias + i % index(classes)] += moments.mean[i / index(classes)] * start[i];
    start[i] /= lengths[i / index(classes)];
  }
  for (std::size_t c = 0; c < index(classes); ++c) start[first_bias + c] /= bias_length;
  auto found = minimise(walked_loss, std::move(start), options);
  found.x = to_plain(found.x);
  return found;
}

std::vector<float> narrow(std::span<double const> values) { return {values.begin(), values.end()}; }

std::vector<std::int64_t> predict_shards(std::vector<LabelledCells> const& shards, std::span<float const> weight,
                                         std::span<float const> bias) {
  std::vector<std::int64_t> predicted;
  for (auto const& shard : shards) {
    auto const some = predict_classes(shard.cells, weight, bias);
    predicted.insert(predicted.end(), some.begin(), some.end());
  }
  return predicted;
}

}  // namespace

GeneRegression regress_on_genes(Communicator const& ranks, ShardPlan const& plan, Atlas const& atlas,
                                Labels const& labels, RegressionOptions const& options) {
  auto const genes = atlas.genes(), classes = labels.classes();
  std::vector<LabelledCells> train, held_out, test;
  ranks.together([&] {
    auto const parts = parts_to_choose_by(atlas);
    train = read_part(plan, atlas, labels, parts, Part::fit);
    held_out = read_part(plan, atlas, labels, parts, Part::held_out);
    test = read_part(plan, atlas, labels, parts, Part::test);
  });
  // Chooses the penalty: models of the fit cells, judged on the held-out cells.
  GeneRegression result;
  std::vector<double> x(index((genes + 1) * classes)), chosen = x;
  std::int64_t own_held_out = 0;
  for (auto const& shard : held_out) own_held_out += shard.cells.rows();
  auto const all_held_out = ranks.sum(own_held_out);
  result.penalty = options.penalties.front();
  double best = -1;
  int falls = 0;
  for (double const penalty : options.penalties) {
    x = search(ranks, plan, train, genes, classes, penalty, std::move(x), options.choice).x;
    auto const weight = narrow(std::span(x).first(index(genes * classes))),
               bias = narrow(std::span(x).last(index(classes)));
    auto const predicted = predict_shards(held_out, weight, bias);
    std::int64_t right = 0;
    std::size_t next = 0;
    for (auto const& shard : held_out)
      for (auto const label : shard.labels) right += predicted[next++] == label;
    right = ranks.sum(right);
    double const accuracy = all_held_out ? 100.0 * static_cast<double>(right) / static_cast<double>(all_held_out) : 0.0;
    if (accuracy > best) {
      best = accuracy;
      result.penalty = penalty;
      chosen = x;
      falls = 0;
    } else if (++falls == 3) {
      break;
    }
  }

  if (all_held_out) result.held_out_accuracy = best;
  for (std::size_t shard = 0; shard < train.size(); ++shard) append(train[shard], held_out[shard]);
  held_out.clear();
  result.minimum = search(ranks, plan, train, genes, classes, result.penalty, std::move(chosen), options.search);
  result.weight = narrow(std::span(result.minimum.x).first(index(genes * classes)));
  result.bias = narrow(std::span(result.minimum.x).last(index(classes)));
  result.minimum.x.clear();
  result.predicted = ranks.gather(std::span<std::int64_t const>(predict_shards(test, result.weight, result.bias)));
  return result;
}

}  // namespace retort
