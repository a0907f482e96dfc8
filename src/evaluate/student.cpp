#include "retort/evaluate/student.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "retort/run/index.hpp"

namespace retort {

std::vector<float> Student::weights() const {
  std::vector<float> all;
  for (auto const& [name, parameter] : parameters_) {
    at::Tensor const flat = parameter.detach().contiguous();
    all.insert(all.end(), flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel());
  }
  return all;
}

void Student::set_weights(std::span<float const> weights) const {
  for (auto const& [name, parameter] : parameters_) {
    auto const some = weights.first(index(parameter.numel()));
    std::copy(some.begin(), some.end(), parameter.data_ptr<float>());
    weights = weights.subspan(some.size());
  }
}

at::Tensor Student::constant(std::string const& name, std::vector<std::int64_t> const& sizes, double value) {
  return drawn(name, sizes, [value](Random&) { return value; });
}

at::Tensor Student::uniform(std::string const& name, std::vector<std::int64_t> const& sizes, double bound) {
  return drawn(name, sizes, [bound](Random& random) { return (2 * random.uniform() - 1) * bound; });
}

at::Tensor Student::normal(std::string const& name, std::vector<std::int64_t> const& sizes, double deviation) {
  return drawn(name, sizes, [deviation](Random& random) { return random.normal() * deviation; });
}

at::Tensor Student::drawn(std::string const& name, std::vector<std::int64_t> const& sizes,
                          std::function<double(Random&)> const& draw) {
  Random random(seed_, purpose::student_weights, number_, static_cast<std::uint32_t>(parameters_.size()));
  at::Tensor const tensor = at::empty(sizes, at::kFloat);
  std::generate_n(tensor.data_ptr<float>(), tensor.numel(), [&] { return static_cast<float>(draw(random)); });
  tensor.requires_grad_(true);
  parameters_.emplace_back(name, tensor);
  return tensor;
}

}  // namespace retort
