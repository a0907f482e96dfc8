// Parameters other than a Linear's in training on several virtual shards at once: gradients are a tree over shards.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace retort {

// The sum of 2^k tensors of one shape in a binary tree of neighbours: the order in which ranks add shards.
at::Tensor tree_sum(std::vector<at::Tensor> values);

// A copy of the parameter for each shard; its gradient is tree_sum of the copies'.
std::vector<at::Tensor> shard_copies(at::Tensor const& parameter, std::int64_t shards);

// f(shard, its rows) of the `shards` equal parts of x's rows, one after the other again. For operators whose results
// may depend, in the last bits, on how many rows they get.
at::Tensor by_shard(at::Tensor const& x, std::int64_t shards,
                    std::function<at::Tensor(std::int64_t, at::Tensor const&)> const& f);

// Rows `codes` int64 [n] of table [classes, width] -> [n, width]. The backward writes the gradient to table.grad():
// each shard's sum, then tree_sum. On a GPU this is at::embedding.
at::Tensor shard_embedding(at::Tensor const& table, at::Tensor const& codes, std::int64_t shards);

}  // namespace retort
