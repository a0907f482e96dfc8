// Reconstruction scores on any number of ranks, and against the batches' own formulas.
#include "retort/fidelity/reconstruction.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>

#include "../shared_folder.hpp"
#include "../small_cells.hpp"
#include "retort/cells/libraries.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/fidelity/expression_statistics.hpp"
#include "retort/generate/count_sampling.hpp"
#include "retort/models/scvi_vae.hpp"

namespace retort {
namespace {

TEST(Reconstruction, IsTheMeanOverCellsInBatchesOf128) {
  Communicator const ranks = Communicator::world();
  SharedFolder const folder(ranks, "reconstruction");
  SimulateOptions options;
  options.cells = 400, options.genes = 30, options.types = 3;
  simulate(ranks, options, 3, folder / "atlas.h5ad");
  Atlas const atlas(folder / "atlas.h5ad");
  ScviVae vae({.genes = 30, .hidden = 12, .latent = 3}, 2);
  vae.finish();
  std::vector<std::int64_t> rows(257);  // the last batch is one cell, of which there is no correlation
  std::iota(rows.begin(), rows.end(), std::int64_t{20});
  auto const scores = score_reconstruction(ranks, vae, atlas, rows, 9);

  c10::InferenceMode const no_graph;
  double error = 0, correlation = 0, squares = 0;
  for (std::int64_t begin = 0; begin < 257; begin += 128) {
    auto const n = std::min<std::int64_t>(128, 257 - begin);
    auto const counts = std::make_shared<CsrBlock const>(atlas.read(20 + begin, 20 + begin + n));
    auto const decoded = vae.decode(vae.embed(*counts));
    error += vae.reconstruction_error(counts, decoded).sum().item<double>();
    auto const logs = [](at::Tensor const& x) {
      return (x / x.sum(1, true).clamp_min(1) * 1e4).log1p().to(at::kDouble);
    };
    auto const truth = logs(testing_cells::dense(*counts)),
               sample = logs(sample_counts(decoded, libraries(*counts), 9, begin));
    squares += (truth - sample).square().sum().item<double>();
    if (n > 1) correlation += gene_correlation(truth, sample) * static_cast<double>(n);
  }
  EXPECT_NEAR(scores.error, error / 257, 1e-4);
  EXPECT_NEAR(scores.correlation, correlation / 256, 1e-5);
  EXPECT_NEAR(scores.squared_error, squares / 257 / 30, 1e-5);

  auto const alone = score_reconstruction(Communicator::serial(), vae, atlas, rows, 9);
  EXPECT_EQ(alone.error, scores.error);
  EXPECT_EQ(alone.correlation, scores.correlation);
  EXPECT_EQ(alone.squared_error, scores.squared_error);
}

}  // namespace
}  // namespace retort
