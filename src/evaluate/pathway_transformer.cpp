#include "retort/evaluate/pathway_transformer.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "retort/kernels/sparse_linear.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t width = 48, heads = 4, depth = 2, mlp_width = 4 * width;

// A quarter is dropped, the rest scaled up: two random bits a number, of which one must be set.
at::Tensor dropped(at::Tensor const& x, Random* dropout) {
  if (!dropout) return x;
  at::Tensor const keep = at::empty(x.sizes(), at::kFloat);
  float* const to = keep.data_ptr<float>();
  std::int64_t const count = keep.numel();
  for (std::int64_t i = 0; i < count; i += 32) {
    std::uint32_t const first = dropout->bits(), bits = first | dropout->bits();
    for (std::int64_t j = 0, some = std::min<std::int64_t>(32, count - i); j < some; ++j)
      to[i + j] = static_cast<float>(bits >> j & 1) * (4.0F / 3.0F);
  }
  return x * keep;
}

// Left out for a quarter of the cells (stochastic depth, Huang et al. 2016).
at::Tensor left_out(at::Tensor const& x, Random* dropout) {
  return dropout ? x * dropped(at::ones({x.size(0), 1, 1}), dropout) : x;
}

}  // namespace

at::Tensor PathwayTransformer::Linear::operator()(at::Tensor const& x) const { return at::linear(x, weight, bias); }
at::Tensor PathwayTransformer::Norm::operator()(at::Tensor const& x) const {
  return at::layer_norm(x, {width}, scale, shift, 1e-6);
}

PathwayTransformer::Linear PathwayTransformer::linear(std::string const& name, std::int64_t in, std::int64_t out) {
  at::Tensor const weight = normal(name + ".weight", {out, in}, 1 / std::sqrt(static_cast<double>(in)));
  return {weight, constant(name + ".bias", {out}, 0)};
}

PathwayTransformer::Norm PathwayTransformer::norm(std::string const& name) {
  at::Tensor const scale = constant(name + ".weight", {width}, 1);
  return {scale, constant(name + ".bias", {width}, 0)};
}

PathwayTransformer::PathwayTransformer(Pathways const& pathways, std::int64_t genes, std::int64_t classes,
                                       std::uint64_t seed, std::uint64_t number)
    : Student(seed, number), genes_(genes), first_row_{0} {
  for (auto const& of_pathway : pathways.genes) {
    gene_.insert(gene_.end(), of_pathway.begin(), of_pathway.end());
    first_row_.push_back(std::ssize(gene_));
  }
  gene_.resize(gene_.size() + index(genes));
  std::iota(gene_.end() - genes, gene_.end(), 0);
  first_row_.push_back(std::ssize(gene_));
  double const bound = 1 / std::sqrt(static_cast<double>(genes));
  weight_ = uniform("pathways.weight", {std::ssize(gene_), width}, bound);
  bias_ = uniform("pathways.bias", {std::ssize(first_row_) - 1, width}, bound);
  class_token_ = normal("class_token", {1, 1, width}, 0.02);
  for (std::int64_t i = 0; i < depth; ++i) {
    auto const name = fmt::format("blocks.{}", i);
    Block block;
    block.attention_norm = norm(name + ".norm1");
    block.query = linear(name + ".query", width, width);
    block.key_value = linear(name + ".key_value", width, 2 * width);
    block.projection = linear(name + ".projection", width, width);
    block.mlp_norm = norm(name + ".norm2");
    block.widen = linear(name + ".widen", width, mlp_width);
    block.narrow = linear(name + ".narrow", mlp_width, width);
    blocks_.push_back(block);
  }
  norm_ = norm("norm");
  head_ = linear("head", width, classes);
}

at::Tensor PathwayTransformer::tokens(CsrBlock const& cells) const {
  if (cells.genes != genes_)
    fail(ExitCode::failed, "a transformer of {} genes was given cells of {} genes", genes_, cells.genes);
  // A row for each cell and token, of what the cell has of the token's genes: then the masked layer is a sparse layer
  // like any other.
  auto const tokens = std::ssize(first_row_) - 1;
  CsrBlock spread;
  spread.genes = std::ssize(gene_);
  std::vector<float> cell(index(genes_));
  for (std::int64_t i = 0; i < cells.rows(); ++i) {
    auto const begin = index(cells.indptr[index(i)]), end = index(cells.indptr[index(i) + 1]);
    for (auto k = begin; k < end; ++k) cell[index(cells.indices[k])] = cells.values[k];
    for (std::size_t t = 0; t < index(tokens); ++t) {
      for (auto row = first_row_[t]; row < first_row_[t + 1]; ++row) {
        float const value = cell[index(gene_[index(row)])];
        if (value == 0) continue;
        spread.indices.push_back(static_cast<std::int32_t>(row));
        spread.values.push_back(value);
      }
      spread.indptr.push_back(std::ssize(spread.indices));
    }
    for (auto k = begin; k < end; ++k) cell[index(cells.indices[k])] = 0;
  }
  return sparse_linear(spread, weight_, at::zeros({width}), weight_.grad()).view({cells.rows(), tokens, width}) + bias_;
}

at::Tensor PathwayTransformer::through(Block const& block, at::Tensor const& x, bool is_last, Random* dropout) const {
  std::int64_t const cells = x.size(0), asking = is_last ? 1 : x.size(1), head_width = width / heads;
  auto const by_head = [&](at::Tensor const& y) {
    return y.reshape({cells, -1, heads, head_width}).transpose(1, 2);
  };  // [cells, heads, tokens, head_width]
  auto const perhaps = [&](at::Tensor const& y) {
    return is_last ? left_out(dropped(y, dropout), dropout) : dropped(y, dropout);
  };

  at::Tensor const normed = block.attention_norm(x);
  auto const key_value = block.key_value(normed).chunk(2, -1);
  at::Tensor const mixed = at::scaled_dot_product_attention(by_head(block.query(normed.narrow(1, 0, asking))),
                                                            by_head(key_value[0]), by_head(key_value[1]));
  at::Tensor const attended =
      x.narrow(1, 0, asking) + perhaps(block.projection(mixed.transpose(1, 2).reshape({cells, asking, width})));
  return attended + perhaps(block.narrow(dropped(at::gelu(block.widen(block.mlp_norm(attended))), dropout)));
}

at::Tensor PathwayTransformer::scores(CsrBlock const& cells, Random* dropout) const {
  at::Tensor x = dropped(at::cat({class_token_.expand({cells.rows(), 1, width}), tokens(cells)}, 1), dropout);
  for (auto const& block : blocks_) x = through(block, x, &block == &blocks_.back(), dropout);
  return head_(norm_(x.select(1, 0)));
}

}  // namespace retort
