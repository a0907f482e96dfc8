// Either of scRDiT's noise predictors.
#pragma once

#include <variant>

#include "retort/models/scrdit_transformer.hpp"
#include "retort/models/scrdit_unet.hpp"

namespace retort {

using ScrditShape = std::variant<ScrditTransformerShape, ScrditUnetShape>;

// The number of genes is a multiple of it: the transformer's patch, the U-Net's 8.
std::int64_t genes_divisor(ScrditShape const& shape);

class ScrditNetwork {
 public:
  // Throws Failure(usage) for sizes that do not divide.
  ScrditNetwork(ScrditShape const& shape, std::uint64_t seed);

  ScrditShape shape() const;
  Parameters const& parameters() const;
  // As ScrditTransformer and ScrditUnet: x [n, genes] at index t int64 [n] -> the noise in it [n, genes].
  at::Tensor predict(at::Tensor const& x, at::Tensor const& t) const;

 private:
  std::variant<ScrditTransformer, ScrditUnet> network_;
};

}  // namespace retort
