#include "retort/fidelity/reconstruction.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>

#include "retort/cells/libraries.hpp"
#include "retort/fidelity/expression_statistics.hpp"
#include "retort/generate/count_sampling.hpp"
#include "retort/models/cell_tokens.hpp"
#include "retort/ranks/share.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

at::Tensor log_normalised(at::Tensor const& counts) {
  return (counts * (1e4 / counts.sum(1, true).clamp_min(1))).log1p();
}

}  // namespace

ReconstructionScores score_reconstruction(Communicator const& ranks, CellVae const& vae, Atlas const& atlas,
                                          std::vector<std::int64_t> const& rows, std::uint64_t seed) {
  constexpr std::int64_t block_rows = 128;
  auto const own = share_of(std::ssize(rows), ranks.rank(), ranks.size(), block_rows);
  auto const blocks = (std::ssize(rows) + block_rows - 1) / block_rows;
  std::vector<double> sums(
      index(blocks) * 4,
      0);  // of each block: error, correlation * cells, squared error * cells, cells that have a correlation
  ranks.together([&] {
    c10::InferenceMode const no_graph;
    for (auto begin = own.begin; begin < own.end; begin += block_rows) {
      auto const n = std::min(block_rows, own.end - begin);
      auto const counts = std::make_shared<CsrBlock const>(atlas.read(std::span(rows).subspan(index(begin), index(n))));
      auto const decoded = vae.decode(vae.embed(*counts));
      auto* const to = sums.data() + 4 * (begin / block_rows);
      to[0] = vae.reconstruction_error(counts, decoded).to(at::kDouble).sum().item<double>();
      at::Tensor const dense = at::zeros({n, counts->genes});
      dense.view(-1).index_copy_(0, nonzero_places(*counts), at::tensor(counts->values, at::kFloat));
      auto const truth = log_normalised(dense);
      auto const sampled = decoded.log_theta.defined()
                               ? log_normalised(sample_counts(decoded, libraries(*counts), seed, begin))
                               : sample_expression(decoded, seed, begin);
      double const correlation = n > 1 ? gene_correlation(truth, sampled) : std::numeric_limits<double>::quiet_NaN();
      if (std::isfinite(correlation)) to[1] = correlation * static_cast<double>(n), to[3] = static_cast<double>(n);
      to[2] = mean_squared_error(truth, sampled) * static_cast<double>(n);
    }
  });
  ranks.sum(std::span<double>(sums));
  std::vector<double> totals(4, 0);
  for (std::size_t i = 0; i < sums.size(); ++i) totals[i % 4] += sums[i];
  auto const cells = static_cast<double>(rows.size());
  return {totals[0] / cells, totals[1] / totals[3], totals[2] / cells};
}

}  // namespace retort
