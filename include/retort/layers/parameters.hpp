// The parameters of a network: their names, their order and their first values.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace retort {

// Keeps two networks of one run from drawing the same first weights.
namespace network {
inline constexpr std::uint32_t scdg = 1, scldm_vae = 2, scvi_vae = 3, scldm_dit = 4, scrdit_dit = 5, scrdit_unet = 6;
}

// Every parameter is drawn from its own stream of numbers, named by (seed, network, its place): the same on any number
// of ranks. All are float32, contiguous, on the CPU, and require gradients. Names are PyTorch's where a peer exists.
class Parameters {
 public:
  Parameters(std::uint64_t seed, std::uint32_t network) : seed_(seed), network_(network) {}

  at::Tensor constant(std::string const& name, std::vector<std::int64_t> const& sizes, double value);
  // In [-bound, bound).
  at::Tensor uniform(std::string const& name, std::vector<std::int64_t> const& sizes, double bound);
  at::Tensor normal(std::string const& name, std::vector<std::int64_t> const& sizes, double deviation = 1);

  // In the order they were made.
  std::vector<std::pair<std::string, at::Tensor>> const& named() const { return named_; }
  std::vector<at::Tensor> tensors() const;
  // How many numbers they hold.
  std::int64_t count() const;
  // Names these weights: files that were made with them keep it.
  std::string hash() const;
  // Ends training: no parameter requires gradients any longer.
  void freeze();

 private:
  template <class Draw>
  at::Tensor drawn(std::string const& name, std::vector<std::int64_t> const& sizes, Draw const& draw);
  at::Tensor keep(std::string const& name, at::Tensor tensor);

  std::uint64_t seed_;
  std::uint32_t network_;
  std::vector<std::pair<std::string, at::Tensor>> named_;
};

}  // namespace retort
