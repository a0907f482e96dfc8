#include "retort/layers/parameters.hpp"

#include <ATen/ATen.h>

#include "retort/run/error.hpp"
#include "retort/run/hash.hpp"
#include "retort/run/random.hpp"

namespace retort {

at::Tensor Parameters::keep(std::string const& name, at::Tensor tensor) {
  tensor.requires_grad_(true);
  named_.emplace_back(name, tensor);
  return tensor;
}

template <class Draw>
at::Tensor Parameters::drawn(std::string const& name, std::vector<std::int64_t> const& sizes, Draw const& draw) {
  Random random(seed_, purpose::weights, named_.size(), network_);
  at::Tensor tensor = at::empty(sizes, at::kFloat);
  float* const values = tensor.data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(draw(random));
  return keep(name, tensor);
}

at::Tensor Parameters::constant(std::string const& name, std::vector<std::int64_t> const& sizes, double value) {
  return keep(name, at::full(sizes, value, at::kFloat));
}

at::Tensor Parameters::uniform(std::string const& name, std::vector<std::int64_t> const& sizes, double bound) {
  return drawn(name, sizes, [bound](Random& random) { return (2 * random.uniform() - 1) * bound; });
}

at::Tensor Parameters::normal(std::string const& name, std::vector<std::int64_t> const& sizes, double deviation) {
  return drawn(name, sizes, [deviation](Random& random) { return deviation * random.normal(); });
}

std::vector<at::Tensor> Parameters::tensors() const {
  std::vector<at::Tensor> all;
  for (auto const& [name, tensor] : named_) all.push_back(tensor);
  return all;
}

std::int64_t Parameters::count() const {
  std::int64_t numbers = 0;
  for (auto const& [name, tensor] : named_) numbers += tensor.numel();
  return numbers;
}

std::string Parameters::hash() const {
  std::uint64_t hash = 0;
  for (auto const& [name, tensor] : named_) {
    at::Tensor const host = tensor.detach().cpu().contiguous();
    hash = hash_bytes(host.const_data_ptr(), host.nbytes(), hash);
  }
  return fmt::format("{:016x}", hash);
}

void Parameters::freeze() {
  for (auto& [name, tensor] : named_) tensor.requires_grad_(false);
}

}  // namespace retort
