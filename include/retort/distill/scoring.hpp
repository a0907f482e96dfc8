// How good a synthetic set is before anyone looks at test cells: heads trained on it, tried on the held-out part of
// train.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/distill/gene_matching.hpp"
#include "retort/models/head_training.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

class HeldOut {
 public:
  // The features of the held-out rows; of the fit rows where no row is held out. Every rank reads all, because heads,
  // not rows, are shared out. Not collective.
  HeldOut(std::filesystem::path const& features, Labels const& labels, std::vector<Part> const& parts);

  std::int64_t cells() const { return labels_.size(0); }
  std::int64_t classes() const { return classes_; }
  std::vector<std::int64_t> const& rows() const { return rows_; }  // of the atlas
  at::Tensor const& labels() const { return labels_; }
  bool is_fit_part() const { return is_fit_part_; }

  // Collective: mean accuracy in per cent of `heads` heads of `seed`, other ones than those that evaluation trains,
  // trained on features [n, width] with labels int64 [n]. Ranks share the heads; the mean has the same bits on any
  // number of ranks.
  double accuracy(Communicator const& ranks, at::Tensor const& features, at::Tensor const& labels,
                  HeadOptions const& options, std::int64_t heads, std::uint64_t seed) const;

 private:
  at::Tensor features_, labels_;
  std::vector<std::int64_t> rows_;
  std::int64_t classes_;
  bool is_fit_part_;
};

// The same for logistic regression on genes (GeneStudent), one model a set.
class HeldOutGenes {
 public:
  static constexpr std::int64_t most_rows = 65'536;  // held-out rows that are asked; the atlas is shuffled
  // Collective. Each rank reads its share of the held-out rows in the genes of the sets, and keeps it.
  HeldOutGenes(Communicator const& ranks, HeldOut const& held_out, GeneMatching::Read const& read);
  // Collective: accuracy in per cent of the model trained on cells [classes * spc, genes], sorted by class, with labels
  // int64; of large sets on the first cells of each class, 512 in all.
  double accuracy(Communicator const& ranks, at::Tensor const& cells, at::Tensor const& labels) const;

 private:
  LabelledCells own_;
  std::int64_t cells_, classes_;
};

// One state of a set that may be exported.
struct Candidate {
  double accuracy = 0;  // held out, of heads on features, per cent
  double choice =
      0;  // what states are compared by: accuracy, or its mean with that of HeldOutGenes where genes are matched
  double loss = 0;  // of the matching, see matching_loss
  double rate = 0;
  std::int64_t iterations = 0;
  std::vector<at::Tensor> codes;
};

// Which candidate to keep: the lowest matching loss among those within one standard error of the best choice.
// A few cells more on a small held-out part decide nothing; among equals the better match carries further.
std::size_t best_candidate(std::vector<Candidate> const& candidates, std::int64_t held_out_cells);

}  // namespace retort
