#include "retort/kernels/shard_parameters.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "retort/run/index.hpp"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Copies : torch::autograd::Function<Copies> {
  static variable_list forward(AutogradContext*, at::Tensor const& parameter, std::int64_t shards) {
    variable_list copies;
    for (std::int64_t s = 0; s < shards; ++s) copies.push_back(parameter.clone());
    return copies;
  }
  static variable_list backward(AutogradContext*, variable_list const& gradients) {
    return {tree_sum(gradients), at::Tensor()};
  }
};

struct Embedding : torch::autograd::Function<Embedding> {
  static at::Tensor forward(AutogradContext* context, at::Tensor const& table, at::Tensor const& codes,
                            std::int64_t shards) {
    context->save_for_backward({codes});
    context->saved_data["into"] = table.grad();
    context->saved_data["shards"] = shards;
    return table.index_select(0, codes);
  }
  static variable_list backward(AutogradContext* context, variable_list const& gradients) {
    at::Tensor const codes = context->get_saved_variables()[0], into = context->saved_data["into"].toTensor();
    std::int64_t const shards = context->saved_data["shards"].toInt(), n = codes.size(0) / shards;
    std::vector<at::Tensor> sums;
    for (std::int64_t s = 0; s < shards; ++s)
      sums.push_back(at::embedding_dense_backward(gradients[0].narrow(0, s * n, n).contiguous(),
                                                  codes.narrow(0, s * n, n), into.size(0), -1, false));
    into.copy_(tree_sum(std::move(sums)));
    return {at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor tree_sum(std::vector<at::Tensor> values) {
  for (std::size_t apart = 1; apart < values.size(); apart *= 2)
    for (std::size_t i = 0; i < values.size(); i += 2 * apart) values[i] = values[i] + values[i + apart];
  return values[0];
}

std::vector<at::Tensor> shard_copies(at::Tensor const& parameter, std::int64_t shards) {
  if (shards == 1) return {parameter};
  return Copies::apply(parameter, shards);
}

at::Tensor by_shard(at::Tensor const& x, std::int64_t shards,
                    std::function<at::Tensor(std::int64_t, at::Tensor const&)> const& f) {
  if (shards == 1) return f(0, x);
  std::vector<at::Tensor> parts = x.split(x.size(0) / shards);
  for (std::int64_t s = 0; s < shards; ++s) parts[index(s)] = f(s, parts[index(s)]);
  return at::cat(parts);
}

at::Tensor shard_embedding(at::Tensor const& table, at::Tensor const& codes, std::int64_t shards) {
  if (!table.device().is_cpu()) return at::embedding(table, codes);
  return Embedding::apply(table, codes, shards);
}

}  // namespace retort
