// What the real cells give a matching: everything that an iteration compares the synthetic set with, formed by all
// ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "retort/distill/encoder_matching.hpp"
#include "retort/distill/expert_gradients.hpp"
#include "retort/distill/gene_matching.hpp"
#include "retort/distill/head_matching.hpp"
#include "retort/distill/matching.hpp"
#include "retort/distill/student_expert.hpp"

namespace retort {

class RealSide {
 public:
  struct Options {
    GradientMetric metric = GradientMetric::rows;
    std::vector<std::int64_t> hidden = {};  // widths of the hidden layers of heads whose gradients are matched
    std::optional<HeadOptions> student;     // of one epoch: gradients are matched as match_student_expert does
    Foundation const* encoder = nullptr;    // unfrozen: gradients are matched as EncoderMatching does
    std::int64_t real_cells = 0;            // see ExpertGradients; 0 with an unfrozen encoder: 256
    HeadTraining head_training;             // see HeadMatching
    std::int64_t gene_cells = 4096;         // see GeneMatching
    std::uint64_t seed = 0;
  };
  // What the student `genes` learns from: see GeneMatching.
  struct RealCells {
    GeneMatching::Read read;
    std::vector<std::vector<std::int64_t>> const& rows_by_class;
    std::int64_t genes = 0;
  };
  // Collective. Keeps references to the first three. Prepares what `matchings` need.
  RealSide(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, double feature_scale,
           RealCells const& cells, std::vector<std::string> const& matchings, Options const& options);

  // Collective. What match() takes for one iteration: class means always; aim_at adds the expert gradients of a head,
  // `number` names the sample of real cells; aim_at_weights and follow what an unfrozen encoder, and a student with its
  // expert, give for the set as it is; train_through the derivative of what `head` does on real cells after learning
  // from the set; train_on_genes that of logistic regression on genes.
  MatchTarget const& target() const { return target_; }
  void aim_at(Head const& head, std::uint64_t number);
  void aim_at_weights(Head const& head, std::uint64_t number, at::Tensor const& cells);
  void follow(Head const& start, std::uint64_t number, at::Tensor const& features, at::Tensor const& labels,
              std::int64_t epochs);
  void train_through(Head const& head, at::Tensor const& features, at::Tensor const& labels);
  void train_on_genes(at::Tensor const& cells, at::Tensor const& labels);

  // Collective: the matching's loss of a whole set against a few heads that are always the same, so that states
  // compare; one head where the encoder is unfrozen. `cells` may be undefined where neither that nor the student
  // `genes` asks for them; `epochs` are those of follow.
  double loss(Matching const& matching, at::Tensor const& features, at::Tensor const& cells, at::Tensor const& labels,
              std::int64_t epochs) const;

 private:
  Head comparing_head(std::uint64_t i) const;

  double loss_of_gradients(Matching const& matching, at::Tensor const& features, at::Tensor const& cells,
                           at::Tensor const& labels, std::int64_t epochs) const;
  StudentExpertOptions student_options(std::int64_t epochs) const {
    return {options_.metric, *options_.student, epochs};
  }

  Options options_;
  std::int64_t classes_, width_;
  MatchTarget target_;
  std::optional<ExpertGradients> expert_gradients_;
  std::optional<EncoderMatching> encoder_matching_;
  std::optional<HeadMatching> head_matching_;
  std::optional<GeneMatching> gene_matching_;
  std::vector<MatchTarget> comparing_;
};

}  // namespace retort
