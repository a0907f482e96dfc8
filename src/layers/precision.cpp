#include "retort/layers/precision.hpp"

#include <ATen/autocast_mode.h>

#include "retort/run/error.hpp"

namespace retort {

Precision precision_of(std::string const& text, std::string const& setting) {
  if (text == "float32") return Precision::float32;
  if (text == "bfloat16") return Precision::bfloat16;
  fail(ExitCode::usage, "{} is '{}' (it is float32 or bfloat16)", setting, text);
}

Autocast::Autocast(Precision precision, c10::DeviceType device)
    : device_(device), before_(at::autocast::is_autocast_enabled(device)) {
  at::autocast::increment_nesting();
  if (precision == Precision::float32) return;
  at::autocast::set_autocast_dtype(device, at::kBFloat16);
  at::autocast::set_autocast_enabled(device, true);
}

Autocast::~Autocast() {
  at::autocast::set_autocast_enabled(device_, before_);
  if (at::autocast::decrement_nesting() == 0)
    at::autocast::clear_cache();  // copies of weights that the next step changes
}

}  // namespace retort
