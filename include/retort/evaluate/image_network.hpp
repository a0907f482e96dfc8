// A small convolutional network on images of genes: a stand-in for scDeepInsight, whose EfficientNet-B3 with ImageNet
// weights is not ours to bring (methods 1.5.3).
#pragma once

#include "retort/evaluate/gene_image.hpp"
#include "retort/evaluate/student.hpp"

namespace retort {

// The side of the images that evaluation draws.
inline constexpr std::int64_t image_side = 48;

// Three 3 x 3 convolutions with stride 2 and padding 1 (16, 32 and 64 channels), ReLU after each, and a Linear layer on
// all that is left: places are genes here, so they are not pooled away.
class ImageNetwork : public Student {
 public:
  // Weights as He et al. 2015 (eq 10), biases zero.
  ImageNetwork(GeneLayout const& layout, std::int64_t classes, std::uint64_t seed, std::uint64_t number);
  at::Tensor scores(CsrBlock const& cells, Random* dropout) const override;

 private:
  GeneLayout layout_;
  std::vector<std::pair<at::Tensor, at::Tensor>> convolutions_;  // weight [out, in, 3, 3], bias [out]
  at::Tensor weight_, bias_;                                     // [classes, 64 * (side / 8)^2], [classes]
};

}  // namespace retort
