// How good a synthetic set is before anyone looks at test cells: heads trained on it, tried on the held-out part of train.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/training/head_training.hpp"

namespace retort {

class HeldOut {
 public:
  // The features of the held-out rows; of the fit rows where no row is held out. Every rank reads all, because heads, not
  // rows, are shared out. Not collective.
  HeldOut(std::filesystem::path const& features, Labels const& labels, std::vector<Part> const& parts);

  std::int64_t cells() const { return labels_.size(0); }
  bool is_fit_part() const { return is_fit_part_; }

  // Collective: mean accuracy in per cent of heads 0..heads-1 of `seed`, trained on features [n, width] with labels
  // int64 [n]. Ranks share the heads; the mean has the same bits on any number of ranks.
  double accuracy(Communicator const& ranks, at::Tensor const& features, at::Tensor const& labels, HeadOptions const& options,
                  std::int64_t heads, std::uint64_t seed) const;

 private:
  at::Tensor features_, labels_;
  std::int64_t classes_;
  bool is_fit_part_;
};

}  // namespace retort
