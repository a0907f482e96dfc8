#include "retort/cells/feature_file.hpp"

#include "../shared_folder.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

float feature(std::int64_t row, std::int64_t column) {
  return static_cast<float>(row) + static_cast<float>(column) / 8;
}

void write(Communicator const& ranks, std::filesystem::path const& file, Atlas const& atlas) {
  constexpr std::int64_t width = 5;
  auto const share = share_of(atlas.cells(), ranks.rank(), ranks.size());
  std::vector<float> values;
  for (std::int64_t row = share.begin; row < share.end; ++row)
    for (std::int64_t column = 0; column < width; ++column) values.push_back(feature(row, column));
  write_features(ranks, file, atlas, share, values, width, "encoder 7");
}

TEST(Features, are_one_file_of_all_ranks_that_reads_back) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "features");
  SimulateOptions options;
  options.cells = 100;
  options.genes = 60;
  simulate(ranks, options, 1, folder / "atlas.h5ad");
  Atlas const atlas(folder / "atlas.h5ad");
  write(ranks, folder / "features.h5ad", atlas);
  auto const all = read_features(folder / "features.h5ad");
  EXPECT_EQ(all.rows, 100);
  EXPECT_EQ(all.width, 5);
  EXPECT_EQ(all.encoder, "encoder 7");
  EXPECT_EQ(std::ssize(all.values), 500);
  for (std::int64_t row = 0; row < 100; ++row) EXPECT_EQ(all.values[index(row * 5 + 3)], feature(row, 3));
  auto const some = read_features(folder / "features.h5ad", {40, 42});
  EXPECT_EQ(some.rows, 2);
  EXPECT_EQ(some.values.front(), feature(40, 0));
  EXPECT_EQ(some.values.back(), feature(41, 4));
  ranks.barrier();
  if (!ranks.is_root()) return;
  write(Communicator::serial(), folder / "alone.h5ad", atlas);
  EXPECT_TRUE(bytes_of_file(folder / "alone.h5ad") == bytes_of_file(folder / "features.h5ad"));
  require_features_of(atlas, folder / "features.h5ad", all);
  simulate(Communicator::serial(), options, 2, folder / "other.h5ad");  // as many cells and genes, but others
  EXPECT_NE(failure_of(ExitCode::bad_input,
                       [&] { require_features_of(Atlas(folder / "other.h5ad"), folder / "features.h5ad", all); })
                .find("of other cells"),
            std::string::npos);
  failure_of(ExitCode::bad_input, [&] { read_features(folder / "atlas.h5ad"); });
  failure_of(ExitCode::bad_input, [&] { read_features(folder / "features.h5ad", {99, 101}); });
  if (!has_python()) return;
  EXPECT_TRUE(python_agrees(folder.path, R"(
import numpy as np, anndata as ad
a, b = ad.read_h5ad('features.h5ad'), ad.read_h5ad('atlas.h5ad')
assert a.shape == (100, 0) and a.obsm['X_retort'].shape == (100, 5) and a.obsm['X_retort'].dtype == np.float32
assert np.array_equal(a.obsm['X_retort'], np.arange(100)[:, None] + np.arange(5)[None, :] / 8)
assert a.obs.equals(b.obs) and a.uns['retort']['encoder'] == 'encoder 7'
assert len(a.uns['retort']['atlas']) == 16
)"));
}

}  // namespace
}  // namespace retort
