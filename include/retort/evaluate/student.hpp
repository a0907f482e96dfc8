// A network that classifies cells by their genes: what evaluation teaches with a set, beside the head on features.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "retort/cells/csr_block.hpp"
#include "retort/run/random.hpp"

namespace retort {

// Parameters are float32 on the CPU; each is used once a forward pass, as GradientArena demands.
class Student {
 public:
  // Network `number` of `seed`: its first weights depend on nothing else.
  Student(std::uint64_t seed, std::uint64_t number) : seed_(seed), number_(number) {}
  virtual ~Student() = default;

  // Log-normalised cells -> scores [cells, classes], differentiable in the parameters. `dropout` draws what is dropped
  // in training; none: nothing is dropped.
  virtual at::Tensor scores(CsrBlock const& cells, Random* dropout) const = 0;

  // By name, in the order in which they were made.
  std::vector<std::pair<std::string, at::Tensor>> const& parameters() const { return parameters_; }
  // All parameters one after the other, and back.
  std::vector<float> weights() const;
  void set_weights(std::span<float const> weights) const;

 protected:
  // New parameters; each has its own stream of random numbers.
  at::Tensor constant(std::string const& name, std::vector<std::int64_t> const& sizes, double value);
  at::Tensor uniform(std::string const& name, std::vector<std::int64_t> const& sizes, double bound);
  at::Tensor normal(std::string const& name, std::vector<std::int64_t> const& sizes, double deviation);

 private:
  at::Tensor drawn(std::string const& name, std::vector<std::int64_t> const& sizes,
                   std::function<double(Random&)> const& draw);

  std::uint64_t seed_, number_;
  std::vector<std::pair<std::string, at::Tensor>> parameters_;
};

}  // namespace retort
