// Weights for others: the safetensors format (8 bytes of header length, a JSON header, the tensors' bytes).
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace retort {

struct Safetensors {
  std::map<std::string, at::Tensor> tensors;    // float32 or int64, on the CPU, contiguous
  std::map<std::string, std::string> metadata;  // the header's __metadata__
};

// Writes to `file` directly: the caller publishes the folder. The bytes are a function of the content alone.
// Throws Failure(cannot_write).
void write_safetensors(std::filesystem::path const& file, Safetensors const& content);

// The file is hostile until checked: the header's length and JSON, types, shapes against byte counts, ranges that lie
// in the file, do not overlap and cover it. F32, F16, BF16 (both widened to float32) and I64 are read; another type is
// refused. Throws Failure(missing_input) or Failure(bad_input) naming the file and the tensor.
Safetensors read_safetensors(std::filesystem::path const& file);

}  // namespace retort
