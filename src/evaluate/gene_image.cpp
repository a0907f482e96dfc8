#include "retort/evaluate/gene_image.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

// Cells x genes, each gene with mean 0 and length 1; genes that never change are 0.
at::Tensor standardised(CsrBlock const& cells) {
  at::Tensor const dense = at::zeros({cells.rows(), cells.genes}, at::kFloat);
  float* const to = dense.data_ptr<float>();
  for (std::int64_t i = 0; i < cells.rows(); ++i)
    for (auto k = index(cells.indptr[index(i)]); k < index(cells.indptr[index(i) + 1]); ++k)
      to[i * cells.genes + cells.indices[k]] = cells.values[k];
  dense.sub_(dense.mean(0));
  at::Tensor const length = dense.norm(2, 0);
  return dense.mul_(at::where(length > 1e-6, 1 / length, 0.0F));
}

// Genes by rank of `place`, in groups whose sizes differ by one at most.
std::vector<std::vector<std::int32_t>> dealt(std::vector<std::int32_t> genes, at::Tensor const& place,
                                             std::int64_t groups) {
  float const* const at_gene = place.const_data_ptr<float>();
  std::stable_sort(genes.begin(), genes.end(), [&](auto a, auto b) { return at_gene[a] < at_gene[b]; });
  std::vector<std::vector<std::int32_t>> parts;
  auto const count = std::ssize(genes);
  for (std::int64_t part = 0; part < groups; ++part)
    parts.emplace_back(genes.begin() + count * part / groups, genes.begin() + count * (part + 1) / groups);
  return parts;
}

}  // namespace

GeneLayout lay_out_genes(CsrBlock const& cells, std::int64_t side) {
  if (cells.rows() < 3)
    fail(ExitCode::bad_input, "genes cannot be laid out by {} cells (two axes need three)", cells.rows());
  at::NoGradGuard const no_graph;
  // The correlation of genes is z^T z; its axes are those of the small z z^T, led back to genes.
  at::Tensor const z = standardised(cells);
  at::Tensor const vectors = std::get<1>(at::linalg_eigh(at::mm(z, z.t()).to(at::kDouble)));  // by rising eigenvalue
  at::Tensor axes =
      at::mm(z.t(), vectors.narrow(1, cells.rows() - 2, 2).to(at::kFloat)).t().flip(0).contiguous();  // [2, genes]
  for (std::int64_t axis = 0; axis < 2; ++axis)  // an eigenvector's sign is nobody's choice but this one
    if (axes[axis][axes[axis].abs().argmax()].item<float>() < 0) axes[axis].neg_();

  GeneLayout layout{side, std::vector<std::int32_t>(index(cells.genes))};
  std::vector<std::int32_t> genes(index(cells.genes));
  std::iota(genes.begin(), genes.end(), 0);
  std::int32_t column = 0;
  for (auto const& of_column : dealt(genes, axes[0], side)) {
    std::int32_t row = 0;
    for (auto const& of_pixel : dealt(of_column, axes[1], side)) {
      for (auto const gene : of_pixel) layout.pixel[index(gene)] = row * static_cast<std::int32_t>(side) + column;
      ++row;
    }
    ++column;
  }
  return layout;
}

at::Tensor draw_images(CsrBlock const& cells, GeneLayout const& layout) {
  if (cells.genes != std::ssize(layout.pixel))
    fail(ExitCode::failed, "a layout of {} genes was given cells of {} genes", layout.pixel.size(), cells.genes);
  auto const pixels = index(layout.side * layout.side);
  std::vector<float> genes_at(pixels), share(pixels);
  for (auto const pixel : layout.pixel) ++genes_at[index(pixel)];
  for (std::size_t pixel = 0; pixel < pixels; ++pixel) share[pixel] = genes_at[pixel] > 0 ? 1 / genes_at[pixel] : 0;
  at::Tensor const images = at::zeros({cells.rows(), 1, layout.side, layout.side}, at::kFloat);
  float* image = images.data_ptr<float>();
  for (std::int64_t i = 0; i < cells.rows(); ++i, image += pixels) {
    auto const begin = cells.indptr[index(i)], end = cells.indptr[index(i) + 1];
    if (begin == end) continue;
    auto [least, most] = std::minmax_element(cells.values.begin() + begin, cells.values.begin() + end);
    bool const has_all_genes = end - begin == cells.genes;
    float const low = has_all_genes ? *least : std::min(*least, 0.0F),
                high = has_all_genes ? *most : std::max(*most, 0.0F);
    if (high == low) continue;
    float const scale = 1 / (high - low);
    for (auto k = index(begin); k < index(end); ++k) image[layout.pixel[index(cells.indices[k])]] += cells.values[k];
    for (std::size_t pixel = 0; pixel < pixels; ++pixel)
      image[pixel] = genes_at[pixel] > 0 ? (image[pixel] * share[pixel] - low) * scale : 0;
  }
  return images;
}

}  // namespace retort
