// In which numbers a network computes its products.
#pragma once

#include <c10/core/DeviceType.h>

#include <string>

namespace retort {

// bfloat16 keeps eight bits of what is multiplied; sums are float32.
enum class Precision { float32, bfloat16 };
// "float32" or "bfloat16". Throws Failure(usage) with the setting's name.
Precision precision_of(std::string const& text, std::string const& setting);

// Where `precision` is bfloat16: while it lives, matrix products and convolutions, on a GPU attention too, take copies
// of their inputs rounded to bfloat16 (LibTorch's autocast), on this thread. Weights, sums of gradients, norms, losses
// and our own kernels stay float32. It ends before backward, which takes each operator in the numbers of its forward.
class Autocast {
 public:
  explicit Autocast(Precision precision, c10::DeviceType device = c10::DeviceType::CPU);
  ~Autocast();
  Autocast(Autocast const&) = delete;
  Autocast& operator=(Autocast const&) = delete;

 private:
  c10::DeviceType device_;
  bool before_;
};

}  // namespace retort
