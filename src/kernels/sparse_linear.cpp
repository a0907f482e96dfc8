#include "retort/kernels/sparse_linear.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "retort/kernels/shard_kernel.hpp"
#include "retort/run/error.hpp"
#include "retort/run/huge_pages.hpp"
#include "retort/run/index.hpp"
#include "sparse_product.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows_of_a_task = 16, genes_of_a_task = 256;

kernel::SparseRows rows_of(CsrBlock const& cells) {
  return {cells.indptr.data(), cells.indices.data(), cells.values.data()};
}

// The block by gene: where each gene's cells begin [genes + 1], which cells [non-zeros], their values [non-zeros].
struct Transposed {
  at::Tensor begin, cell, value;
};

Transposed transpose(CsrBlock const& cells) {
  auto const nonzeros = cells.nonzeros();
  Transposed out{at::zeros({cells.genes + 1}, at::kLong), at::empty({nonzeros}, at::kInt),
                 at::empty({nonzeros}, at::kFloat)};
  auto* const begin = out.begin.data_ptr<std::int64_t>();
  for (auto const gene : cells.indices) ++begin[gene + 1];
  for (std::int64_t g = 0; g < cells.genes; ++g) begin[g + 1] += begin[g];
  std::vector<std::int64_t> next(begin, begin + cells.genes);
  auto* const cell = out.cell.data_ptr<std::int32_t>();
  auto* const value = out.value.data_ptr<float>();
  for (std::int64_t i = 0; i < cells.rows(); ++i) {
    for (auto k = index(cells.indptr[index(i)]); k < index(cells.indptr[index(i) + 1]); ++k) {
      auto const place = next[index(cells.indices[k])]++;
      cell[place] = static_cast<std::int32_t>(i);
      value[place] = cells.values[k];
    }
  }
  return out;
}

struct SparseLinear : torch::autograd::Function<SparseLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::Tensor const& weight, at::Tensor const& bias,
                            CsrBlock const* cells, at::Tensor const* weight_gradient,
                            std::int64_t shards) {  // a pointer: apply() takes no undefined tensor
    auto const by_gene = transpose(*cells);
    context->save_for_backward({by_gene.begin, by_gene.cell, by_gene.value});
    context->saved_data["genes"] = weight.size(0);
    context->saved_data["into"] = *weight_gradient;
    context->saved_data["bias_into"] = shards ? bias.grad() : at::Tensor();
    context->saved_data["shards"] = shards;
    at::Tensor result = at::empty({cells->rows(), weight.size(1)}, weight.options());  // [n, out]
    sparse_product(*cells, {0, cells->rows()}, weight.const_data_ptr<float>(), bias.const_data_ptr<float>(),
                   weight.size(1), result.data_ptr<float>());
    return result;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    auto const saved = context->get_saved_variables();
    auto const genes = context->saved_data["genes"].toInt();
    at::Tensor const into = context->saved_data["into"].toTensor();
    at::Tensor const gradient = upstream[0].contiguous();  // [n, out]
    auto const out = gradient.size(1), shards = context->saved_data["shards"].toInt();
    at::Tensor const target = into.defined() ? into : at::zeros({genes, out}, gradient.options());
    kernel::SparseRows const by_gene{saved[0].const_data_ptr<std::int64_t>(), saved[1].const_data_ptr<std::int32_t>(),
                                     saved[2].const_data_ptr<float>()};
    at::parallel_for(0, genes, genes_of_a_task, [&](std::int64_t begin, std::int64_t end) {
      if (shards)
        kernel::write_by_shard(by_gene, begin, end, gradient.size(0) / shards, shards, gradient.const_data_ptr<float>(),
                               out, target.data_ptr<float>());
      else
        kernel::accumulate(by_gene, begin, end, gradient.const_data_ptr<float>(), out, target.data_ptr<float>());
    });
    if (shards)
      kernel::bias_gradient(gradient.const_data_ptr<float>(), gradient.size(0), shards, out,
                            context->saved_data["bias_into"].toTensor().data_ptr<float>());
    return {into.defined() ? at::Tensor() : target, shards ? at::Tensor() : gradient.sum(0), at::Tensor(), at::Tensor(),
            at::Tensor()};
  }
};

at::Tensor bag(CsrBlock const& cells, at::Tensor const& weight, at::Tensor const& bias) {
  auto const nonzeros = cells.nonzeros();
  auto const indices = at::from_blob(const_cast<std::int32_t*>(cells.indices.data()), {nonzeros}, at::kInt)
                           .to(weight.device(), at::kLong);
  auto const values =
      at::from_blob(const_cast<float*>(cells.values.data()), {nonzeros}, at::kFloat).to(weight.device());
  auto const offsets =
      at::from_blob(const_cast<std::int64_t*>(cells.indptr.data()), {cells.rows()}, at::kLong).to(weight.device());
  constexpr std::int64_t sum = 0;
  return std::get<0>(at::embedding_bag(weight, indices, offsets, false, sum, false, values)) + bias;
}

}  // namespace

void sparse_product(CsrBlock const& cells, RowRange rows, float const* weight, float const* bias, std::int64_t out,
                    float* result) {
  at::parallel_for(rows.begin, rows.end, rows_of_a_task, [&](std::int64_t begin, std::int64_t end) {
    kernel::multiply(rows_of(cells), begin, end, cells.genes, weight, bias, out, result - rows.begin * out);
  });
}

HalfWeight::HalfWeight(at::Tensor const& weight) {
  if (weight.size(1) % 32)
    fail(ExitCode::usage,
         "a first layer of {} outputs cannot be kept as bfloat16 (they come in blocks of 32). Use float32",
         weight.size(1));
  auto const memory = large_array(index(weight.numel()) * sizeof(std::uint16_t));
  words_ = at::from_blob(
      memory.get(), {weight.size(0), weight.size(1) / 2}, [memory](void*) {}, at::kInt);
  at::Tensor const rows = weight.contiguous();
  kernel::interleave(rows.const_data_ptr<float>(), rows.size(0), rows.size(1),
                     reinterpret_cast<std::uint32_t*>(words_.data_ptr<std::int32_t>()));
}

void HalfWeight::product(CsrBlock const& cells, RowRange rows, float const* bias, float* result) const {
  auto const* const words = reinterpret_cast<std::uint32_t const*>(words_.const_data_ptr<std::int32_t>());
  std::int64_t const out = 2 * words_.size(1);
  at::parallel_for(rows.begin, rows.end, rows_of_a_task, [&](std::int64_t begin, std::int64_t end) {
    kernel::multiply(rows_of(cells), begin, end, cells.genes, words, bias, out, result - rows.begin * out);
  });
}

at::Tensor sparse_linear(CsrBlock const& cells, at::Tensor const& weight, at::Tensor const& bias,
                         at::Tensor const& weight_gradient, std::int64_t shards) {
  if (weight.dim() != 2 || weight.size(0) != cells.genes || bias.numel() != weight.size(1)) {
    fail(ExitCode::failed, "a sparse layer of {} genes was given cells of {} genes", weight.dim() ? weight.size(0) : 0,
         cells.genes);
  }
  if (!weight.device().is_cpu()) return bag(cells, weight, bias);
  bool const by_shard = shards && weight_gradient.defined() && bias.grad().defined();
  if (by_shard && cells.rows() % shards)
    fail(ExitCode::failed, "{} cells cannot be shared by {} shards", cells.rows(), shards);
  return SparseLinear::apply(by_shard ? weight : weight.contiguous(), by_shard ? bias : bias.contiguous(), &cells,
                             &weight_gradient, by_shard ? shards : 0);
}

}  // namespace retort
