// Reading the tensors of a PyTorch checkpoint without Python.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace retort {

// The tensors under `key` of the dictionary that torch.save wrote (zip format, PyTorch 1.6 and later; pickle protocol
// 2), on the CPU, in their own types. The pickle is hostile until checked: only dictionaries, tuples, lists, numbers,
// texts and tensors are built, any other global is refused, and tensors must lie inside their storages. LibTorch's
// unpickler cannot read it: a module's state dict carries an attribute (_metadata) that it refuses. Not collective.
// Throws Failure(missing_input) or Failure(bad_input) naming the file.
std::map<std::string, at::Tensor> read_torch_checkpoint(std::filesystem::path const& file, std::string const& key);

}  // namespace retort
