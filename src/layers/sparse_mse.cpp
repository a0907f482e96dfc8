#include "retort/layers/sparse_mse.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows_of_a_task = 8;
constexpr int lanes = 16;  // partial sums that the compiler keeps in vector registers

double sum_of_squares(float const* values, std::int64_t count) {
  float partial[lanes] = {};
  std::int64_t i = 0;
  double sum = 0;
  // Partial sums are emptied every 4096 values, so that float32 lanes lose nothing that matters.
  while (i + lanes <= count) {
    auto const end = std::min(count - count % lanes, i + 4096);
    for (; i < end; i += lanes) {
      for (int j = 0; j < lanes; ++j) partial[j] += values[i + j] * values[i + j];
    }
    for (float& lane : partial) {
      sum += lane;
      lane = 0;
    }
  }
  for (; i < count; ++i) sum += static_cast<double>(values[i]) * values[i];
  return sum;
}

template <class Value>
at::Tensor copy_of(std::vector<Value> const& values, at::ScalarType type) {
  return at::from_blob(const_cast<Value*>(values.data()), {static_cast<std::int64_t>(values.size())}, type).clone();
}

struct SparseMse : torch::autograd::Function<SparseMse> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::Tensor const& reconstruction,
                            CsrBlock const* cells, std::int64_t shards) {
    auto const n = reconstruction.size(0), genes = reconstruction.size(1);
    float const* const values = reconstruction.const_data_ptr<float>();
    std::vector<double> of_row(index(n));
    at::parallel_for(0, n, rows_of_a_task, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        auto const row = index(i);
        double sum = sum_of_squares(values + i * genes, genes);
        for (auto k = index(cells->indptr[row]); k < index(cells->indptr[row + 1]); ++k) {
          double const target = cells->values[k];
          sum += target * (target - 2.0 * values[i * genes + cells->indices[k]]);  // (r - x)^2 - r^2
        }
        of_row[row] = sum;
      }
    });
    at::Tensor const means = at::empty({shards}, at::kFloat);
    for (std::int64_t s = 0; s < shards; ++s) {
      double total = 0;
      for (std::int64_t i = s * n / shards; i < (s + 1) * n / shards; ++i) total += of_row[index(i)];
      means.data_ptr<float>()[s] = static_cast<float>(total / static_cast<double>(n / shards * genes));
    }
    context->save_for_backward({reconstruction, copy_of(cells->indptr, at::kLong), copy_of(cells->indices, at::kInt),
                                copy_of(cells->values, at::kFloat)});
    return means;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    auto const saved = context->get_saved_variables();
    at::Tensor const& reconstruction = saved[0];
    auto const n = reconstruction.size(0), genes = reconstruction.size(1);
    at::Tensor const of_shard = upstream[0].contiguous();
    std::int64_t const rows_of_a_shard = n / of_shard.size(0);
    at::Tensor const gradient = at::empty_like(reconstruction);
    float const* const values = reconstruction.const_data_ptr<float>();
    auto const* const indptr = saved[1].const_data_ptr<std::int64_t>();
    auto const* const indices = saved[2].const_data_ptr<std::int32_t>();
    float const* const targets = saved[3].const_data_ptr<float>();
    float* const out = gradient.data_ptr<float>();
    at::parallel_for(0, n, rows_of_a_task, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        auto const scale =
            static_cast<float>(2.0 * static_cast<double>(of_shard.const_data_ptr<float>()[i / rows_of_a_shard]) /
                               static_cast<double>(rows_of_a_shard * genes));
        for (auto j = i * genes; j < (i + 1) * genes; ++j) out[j] = scale * values[j];
        for (auto k = indptr[i]; k < indptr[i + 1]; ++k) {
          auto const place = i * genes + indices[k];
          out[place] = scale * (values[place] - targets[k]);
        }
      }
    });
    return {gradient, at::Tensor(), at::Tensor()};
  }
};

// Where the cells are on a GPU: the same sums through operators.
at::Tensor on_device(at::Tensor const& reconstruction, CsrBlock const& cells, std::int64_t shards) {
  auto const device = reconstruction.device();
  auto const indptr = copy_of(cells.indptr, at::kLong);
  auto const rows = at::repeat_interleave(at::arange(cells.rows(), at::kLong), indptr.diff(), 0).to(device);
  auto const columns = copy_of(cells.indices, at::kInt).to(device, at::kLong);
  auto const targets = copy_of(cells.values, at::kFloat).to(device);
  auto const picked = reconstruction.flatten().index_select(0, rows * cells.genes + columns);
  auto const of_row = reconstruction.square().sum(1).index_add(0, rows, targets * (targets - 2.0 * picked));  // [n]
  return of_row.view({shards, -1}).sum(1) / static_cast<double>(cells.rows() / shards * cells.genes);
}

}  // namespace

at::Tensor sparse_mse(at::Tensor const& reconstruction, CsrBlock const& cells, std::int64_t shards) {
  if (reconstruction.dim() != 2 || reconstruction.size(0) != cells.rows() || reconstruction.size(1) != cells.genes ||
      cells.rows() == 0 || cells.rows() % shards) {
    fail(ExitCode::failed, "a reconstruction was compared with {} cells of {} genes (shapes differ)", cells.rows(),
         cells.genes);
  }
  if (!reconstruction.device().is_cpu()) return on_device(reconstruction, cells, shards);
  return SparseMse::apply(reconstruction.contiguous(), &cells, shards);
}

at::Tensor sparse_mse(at::Tensor const& reconstruction, CsrBlock const& cells) {
  return sparse_mse(reconstruction, cells, 1)[0];
}

}  // namespace retort
