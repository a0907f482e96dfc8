// What the real cells give to matchings, formed by all ranks once: sources that several matchings share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "retort/distill/class_matching.hpp"
#include "retort/distill/encoder_matching.hpp"
#include "retort/distill/expert_gradients.hpp"
#include "retort/distill/gene_matching.hpp"
#include "retort/distill/head_matching.hpp"
#include "retort/distill/matching_parts.hpp"

namespace retort {

class RealSide {
 public:
  struct Options {
    GradientMetric metric = GradientMetric::rows;
    std::vector<std::int64_t> hidden = {};  // widths of the hidden layers of heads whose gradients are matched
    bool student_expert = false;            // gradients are matched as match_student_expert does
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
  // Collective. Keeps references to the first three. Prepares what the matchings of these names need.
  RealSide(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, double feature_scale,
           RealCells const& cells, std::vector<std::string> const& matchings, Options const& options);

  Options const& options() const { return options_; }
  std::int64_t classes() const { return classes_; }
  double feature_scale() const { return feature_scale_; }
  at::Tensor const& means() const { return means_; }  // [classes, width]

  // Each is there if a matching that was named needs it.
  ExpertGradients const& expert_gradients() const { return *expert_gradients_; }
  EncoderMatching const& encoder_matching() const { return *encoder_matching_; }
  HeadMatching const& head_matching() const { return *head_matching_; }
  GeneMatching const& gene_matching() const { return *gene_matching_; }

  // A fresh linear head, or one with the hidden layers that options name; `number` names its random stream.
  Head linear_head(std::uint64_t number) const { return initial_head(classes_, width_, options_.seed, number); }
  Head deep_head(std::uint64_t number) const {
    return initial_head(classes_, width_, options_.seed, number, options_.hidden);
  }

  // Heads by which states of a set are compared, apart from those that are matched, that choose a state and that judge
  // a set in the end: streams first_comparing_head ... of deep_head(), with what the real cells give them.
  static constexpr std::uint64_t first_comparing_head = std::uint64_t{1} << 41, comparing_heads = 3;
  // Of matchings that compare gradients class by class.
  std::vector<ClassTarget> const& comparing() const { return comparing_; }

 private:
  Options options_;
  std::int64_t classes_, width_;
  double feature_scale_;
  at::Tensor means_;
  std::optional<ExpertGradients> expert_gradients_;
  std::optional<EncoderMatching> encoder_matching_;
  std::optional<HeadMatching> head_matching_;
  std::optional<GeneMatching> gene_matching_;
  std::vector<ClassTarget> comparing_;
};

}  // namespace retort
