// The student `genes` of matching head: synthetic cells are moved so that logistic regression on genes, trained on
// them, is good on real cells. So what is distilled carries over to classifiers that never see the foundation model.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "retort/cells/csr_block.hpp"
#include "retort/distill/gene_student.hpp"
#include "retort/models/regression_loss.hpp"

namespace retort {

class GeneMatching {
 public:
  // Log-normalised rows of the atlas in the genes of the synthetic cells.
  using Read = std::function<CsrBlock(std::span<std::int64_t const> rows)>;
  // Collective. Each rank reads the fit cells of its shards once and keeps them: about `most_cells` over all ranks, of
  // every class in proportion.
  GeneMatching(Communicator const& ranks, ShardPlan const& plan, Read const& read,
               std::vector<std::vector<std::int64_t>> const& rows_by_class, std::int64_t genes,
               std::int64_t most_cells);
  ~GeneMatching();

  struct Result {
    double loss = 0;      // mean cross-entropy of the softmax of the student's decision values on the real cells
    at::Tensor by_cells;  // its derivative, [n, genes] float32
  };
  // Collective. Cells [n, genes] and labels int64 [n] of the whole synthetic set, the same on all ranks. Bit-equal on
  // any number of ranks.
  Result operator()(at::Tensor const& cells, at::Tensor const& labels) const;
  // Collective: the loss alone.
  double loss(at::Tensor const& cells, at::Tensor const& labels) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
