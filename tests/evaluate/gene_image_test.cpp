// Where genes lie, against numpy and by what a layout must be; and cells drawn on it.
#include "retort/evaluate/gene_image.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "../shared_folder.hpp"
#include "../small_cells.hpp"
#include "retort/files/safetensors.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t genes = 200, side = 6;

// Three programs that genes follow, in turn; noise on top.
CsrBlock correlated_cells() {
  CsrBlock cells;
  cells.genes = genes;
  for (std::uint64_t i = 0; i < 80; ++i) {
    Random random(5, purpose::simulate, i);
    double const level[] = {random.uniform() * 3, random.uniform() * 2, random.uniform()};
    for (std::int32_t gene = 0; gene < genes; ++gene) {
      if (gene == 7) continue;  // no cell has it
      cells.indices.push_back(gene);
      cells.values.push_back(static_cast<float>(0.1 + level[gene % 3] + 0.3 * random.uniform()));
    }
    cells.indptr.push_back(std::ssize(cells.indices));
  }
  return cells;
}

TEST(GeneLayout, IsByRankOnTheAxesOfTheCorrelation) {
  auto const cells = correlated_cells();
  GeneLayout const layout = lay_out_genes(cells, side);
  std::vector<std::int64_t> count(side * side);
  for (auto const pixel : layout.pixel) ++count.at(index(pixel));
  auto const [least, most] = std::minmax_element(count.begin(), count.end());
  EXPECT_LE(*most - *least, 1);
  EXPECT_EQ(lay_out_genes(cells, side).pixel, layout.pixel);
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "gene_image");
  write_safetensors(
      folder / "layout.safetensors",
      {{{"x", testing_cells::dense(cells)}, {"pixel", at::tensor(layout.pixel, at::kInt).to(at::kLong)}}, {}});
  EXPECT_TRUE(python_agrees(folder.path, R"py(
import numpy as np
from safetensors.numpy import load_file
c = load_file('layout.safetensors'); x = c['x'].astype(float)
moving = x.std(0) > 0
correlation = np.zeros((200, 200)); correlation[np.ix_(moving, moving)] = np.corrcoef(x[:, moving].T)
values, vectors = np.linalg.eigh(correlation)
axes = [v * np.sign(v[np.abs(v).argmax()]) for v in (vectors[:, -1], vectors[:, -2])]
pixel = np.zeros(200, int)
column = np.argsort(axes[0], kind='stable')
for i in range(6):
    own = np.sort(column[200 * i // 6:200 * (i + 1) // 6])
    own = own[np.argsort(axes[1][own], kind='stable')]
    for j in range(6): pixel[own[len(own) * j // 6:len(own) * (j + 1) // 6]] = j * 6 + i
same = (pixel == c['pixel']).mean()
print('genes at the same pixel', same)
assert same > 0.97, same  # neighbours in rank may change places for a rounding
)py"));
}

TEST(GeneLayout, RefusesTwoCells) {
  failure_of(ExitCode::bad_input, [] { lay_out_genes(testing_cells::random_cells(2, genes, 0.5, 1), side); });
}

TEST(GeneImages, AreMeansOfScaledGenes) {
  auto cells = testing_cells::random_cells(4, genes, 0.3, 9);
  cells.indptr.push_back(cells.indptr.back());         // an empty cell
  for (std::int32_t gene = 0; gene < genes; ++gene) {  // one that has every gene, so its least is not 0
    cells.indices.push_back(gene);
    cells.values.push_back(1.0F + static_cast<float>(gene % 11));
  }
  cells.indptr.push_back(std::ssize(cells.indices));
  GeneLayout const layout = lay_out_genes(correlated_cells(), 20);  // more pixels than genes
  at::Tensor const images = draw_images(cells, layout).flatten(1), x = testing_cells::dense(cells);
  at::Tensor const low = x.amin(1, true), range = x.amax(1, true) - low,
                   scaled = at::where(range > 0, (x - low) / range, 0.0F);
  at::Tensor const pixel = at::tensor(layout.pixel, at::kInt).to(at::kLong),
                   count = at::bincount(pixel, {}, 400).clamp_min(1);
  EXPECT_LT(testing_cells::largest_difference(images, at::zeros({6, 400}).index_add(1, pixel, scaled) / count), 1e-6);
  EXPECT_EQ(images.max().item<float>(), 1.0F);
  EXPECT_EQ(images[4].abs().max().item<float>(), 0.0F);
}

}  // namespace
}  // namespace retort
