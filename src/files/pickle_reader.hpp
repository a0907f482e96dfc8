// A pickle machine for torch checkpoints: the few opcodes and globals that they use.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort {

struct PickleValue;
using PickleNode = std::shared_ptr<PickleValue>;

struct PickleValue {
  enum class Kind { none, boolean, integer, text, sequence, dictionary, global, storage, tensor } kind = Kind::none;
  std::int64_t integer = 0;                              // also a boolean, and a storage's length
  std::string text;                                      // also "module name" of a global, and a storage's record
  std::vector<PickleNode> items;                         // tuple or list
  std::vector<std::pair<PickleNode, PickleNode>> pairs;  // dictionary
  at::ScalarType type = at::kFloat;                      // of a storage
  at::Tensor tensor;
};

// `storage(record, type, length)` gives a storage's values as a flat tensor. Throws std::runtime_error that says what
// is wrong with the pickle.
PickleNode read_pickle(std::string_view bytes,
                       std::function<at::Tensor(std::string const&, at::ScalarType, std::int64_t)> const& storage);

}  // namespace retort
