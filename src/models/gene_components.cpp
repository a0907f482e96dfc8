#include "retort/models/gene_components.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr int iterations =
    8;  // the first components of expression stand far above the rest and are there after three or four

// This rank's cells as rows of Z: log-normalised expression, each gene of mean 0 and variance 1. Z is not formed.
class StandardisedCells {
 public:
  StandardisedCells(Communicator const& ranks, ShardPlan const& plan, std::vector<CsrBlock> const& counts,
                    std::int64_t genes)
      : ranks_(ranks), plan_(plan), cells_(counts), genes_(index(genes)) {
    for (auto& shard : cells_) log_normalise(shard);
    auto const of = [&](int shard) { return index(shard - plan.begin()); };
    auto const sums = ordered_sum<double>(ranks, plan, static_cast<std::int64_t>(3 * genes_) + 1, [&](int shard) {
      std::vector<double> out(3 * genes_ + 1);  // sums and squares of logs, sums of counts; cells
      auto const& logs = cells_[of(shard)];
      for (std::size_t k = 0; k < logs.indices.size(); ++k) {
        auto const gene = index(logs.indices[k]);
        double const value = logs.values[k];
        out[gene] += value;
        out[genes_ + gene] += value * value;
        out[2 * genes_ + gene] += counts[of(shard)].values[k];
      }
      out.back() = static_cast<double>(logs.rows());
      return out;
    });
    double const n = std::max(1.0, sums.back());
    for (std::size_t gene = 0; gene < genes_; ++gene) {
      mean_.push_back(sums[gene] / n);
      double const variance = sums[genes_ + gene] / n - mean_[gene] * mean_[gene];
      scale_.push_back(variance > 1e-12 ? 1 / std::sqrt(variance) : 0);
      log_total_.push_back(std::log1p(sums[2 * genes_ + gene]));
    }
  }

  std::vector<double> const& log_total() const { return log_total_; }

  // Collective: Z' Z x for x [genes, width] double, summed over all ranks' cells.
  at::Tensor covariance_times(at::Tensor const& x) const {
    auto const width = index(x.size(1));
    std::vector<double> scaled(genes_ * width), offset(width);
    auto const* from = x.const_data_ptr<double>();
    for (std::size_t i = 0; i < scaled.size(); ++i) {
      scaled[i] = from[i] * scale_[i / width];
      offset[i % width] += mean_[i / width] * scaled[i];
    }
    auto const sums =
        ordered_sum<double>(ranks_, plan_, static_cast<std::int64_t>((genes_ + 1) * width), [&](int shard) {
          std::vector<double> out((genes_ + 1) * width), row(width);  // logs' (Z x), then the sum over rows of Z x
          auto const& logs = cells_[index(shard - plan_.begin())];
          for (std::size_t cell = 0; cell + 1 < logs.indptr.size(); ++cell) {
            auto const begin = index(logs.indptr[cell]), end = index(logs.indptr[cell + 1]);
            for (std::size_t i = 0; i < width; ++i) row[i] = -offset[i];
            for (auto k = begin; k < end; ++k)
              for (std::size_t i = 0; i < width; ++i)
                row[i] += static_cast<double>(logs.values[k]) * scaled[index(logs.indices[k]) * width + i];
            for (auto k = begin; k < end; ++k)
              for (std::size_t i = 0; i < width; ++i)
                out[index(logs.indices[k]) * width + i] += static_cast<double>(logs.values[k]) * row[i];
            for (std::size_t i = 0; i < width; ++i) out[genes_ * width + i] += row[i];
          }
          return out;
        });
    at::Tensor const result = at::empty_like(x);
    auto* to = result.mutable_data_ptr<double>();
    for (std::size_t i = 0; i < scaled.size(); ++i)
      to[i] = scale_[i / width] * (sums[i] - mean_[i / width] * sums[genes_ * width + i % width]);
    return result;
  }

 private:
  Communicator const& ranks_;
  ShardPlan const& plan_;
  std::vector<CsrBlock> cells_;  // log-normalised
  std::size_t genes_;
  std::vector<double> mean_, scale_, log_total_;  // by gene; scale 0 where a gene does not vary
};

at::Tensor of_unit_variance(at::Tensor const& column) { return column / column.std(0, false).clamp_min(1e-12); }

}  // namespace

at::Tensor gene_components(Communicator const& ranks, ShardPlan const& plan, std::vector<CsrBlock> const& counts,
                           at::Tensor const& start) {
  auto const genes = start.size(0), width = start.size(1);
  ranks.together([&] {
    for (auto const& shard : counts)
      if (shard.genes != genes)
        fail(ExitCode::failed, "cells of {} genes were given for the vectors of {}", shard.genes, genes);
  });
  StandardisedCells const cells(ranks, plan, counts, genes);
  at::NoGradGuard const no_graph;
  at::Tensor const vectors = start.to(at::kFloat).clone();
  at::Tensor const log_total = at::tensor(cells.log_total(), at::kDouble);
  vectors.select(1, 0).copy_(of_unit_variance(log_total - log_total.mean()));

  at::Tensor basis,
      next = start.to(at::kDouble)
                 .contiguous();  // all columns, though one component less is kept: the last converges slowest
  for (int i = 0; i < iterations; ++i) {
    basis = std::get<0>(at::linalg_qr(next)).contiguous();
    next = cells.covariance_times(basis);
  }
  at::Tensor const inner = at::mm(basis.t(), next);
  auto const [variances, turns] = at::linalg_eigh((inner + inner.t()) / 2);  // rising
  at::Tensor const loadings = at::mm(basis, turns);
  auto const rank = basis.size(1);
  double const least = 1e-9 * variances[rank - 1].item<double>();
  for (std::int64_t k = 1; k < std::min(width, rank + 1); ++k)
    if (variances[rank - k].item<double>() > least)
      vectors.select(1, k).copy_(of_unit_variance(loadings.select(1, rank - k)));
  return vectors;
}

}  // namespace retort
