#include "retort/distill/matching.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "retort/distill/student_expert.hpp"
#include "retort/run/error.hpp"

namespace retort {

MatchingParts matching_parts(std::string const& name) {
  if (name == "dm") return {.name = name, .means = true};
  if (name == "dc") return {.name = name, .gradients = true};
  if (name == "dm+dc") return {.name = name, .means = true, .gradients = true};
  if (name == "head") return {.name = name, .head = true};
  if (name == "genes") return {.name = name, .genes = true};
  if (name == "head+genes") return {.name = name, .head = true, .genes = true};
  if (name == "none") return {.name = name};
  fail(ExitCode::usage, "distill.matchings has '{}' (a matching is dm, dc, dm+dc, head, genes, head+genes or none)",
       name);
}

namespace {

constexpr std::uint64_t first_matching_head = std::uint64_t{1} << 40;  // apart from heads that compare or judge

// Names the head of a step and its sample of real cells.
std::uint64_t number_of(MatchingStep step) {
  return first_matching_head + (static_cast<std::uint64_t>(step.draw) << 24) +
         static_cast<std::uint64_t>(step.iteration);
}

// Row i of a set is of class i / spc.
at::Tensor labels_of(at::Tensor const& rows, std::int64_t classes) {
  return at::arange(rows.size(0), at::kLong).div_(rows.size(0) / classes, "floor");
}

at::Tensor own_rows(at::Tensor const& of_set, Chunk const& chunk) {
  return of_set.narrow(0, chunk.rows.begin, chunk.rows.size());
}

// A derivative that was formed for the whole set; its loss is not this chunk's.
FeatureMatch cut(Chunk const& chunk, at::Tensor const& features, at::Tensor const& by_features,
                 at::Tensor const& by_cells) {
  return {at::zeros({chunk.classes}, features.options()),
          by_features.defined() ? own_rows(by_features, chunk) : at::Tensor(),
          by_cells.defined() ? own_rows(by_cells, chunk) : at::Tensor()};
}

// What one epoch of DC's inner loop is: plain SGD. `epochs` of them.
HeadOptions inner_training(HeadOptions const& head, std::int64_t epochs) {
  return {.epochs = epochs,
          .rate = head.rate,
          .momentum = 0,
          .weight_decay = 0,
          .batch = head.batch,
          .hidden = head.hidden,
          .scale_features = head.scale_features,
          .rate_falls = false};
}

// The head whose gradients are matched: drawn anew every outer_steps steps, it learns from the set between them (DC,
// algorithm 1).
class MovingHead {
 public:
  MovingHead(RealSide const& real, HeadOptions const& head, InnerLoop loop)
      : real_(real), training_(inner_training(head, loop.inner_epochs)), loop_(loop) {}

  Head const& at(MatchingStep step) {
    if (step.iteration % loop_.outer_steps == 0) head_ = real_.deep_head(number_of(step));
    return head_;
  }
  void learn(MatchingStep step, SyntheticSet const& set) {
    if (step.iteration % loop_.outer_steps + 1 == loop_.outer_steps) return;
    at::Tensor const features = set.features();
    train_further(head_, features, labels_of(features, real_.classes()), training_, real_.options().seed,
                  number_of(step));
  }
  std::map<std::string, at::Tensor> state() const { return head_tensors(head_); }
  void restore(std::map<std::string, at::Tensor> const& state) { head_ = head_of_tensors(state); }

 private:
  RealSide const& real_;
  HeadOptions training_;
  InnerLoop loop_;
  Head head_;
};

// dm, dc with one head for both sides, or both together.
class ClassMatching final : public Matching {
 public:
  ClassMatching(MatchingParts const& parts, RealSide const& real, MovingHead head)
      : real_(real), head_(std::move(head)), gradients_(parts.gradients) {
    if (parts.means) target_.means = real.means();
    target_.metric = real.options().metric;
    target_.feature_scale = real.feature_scale();
    if (!gradients_)
      comparing_ = {target_};
    else
      comparing_ = real.comparing();
    if (!parts.means)
      for (auto& target : comparing_) target.means = at::Tensor();
  }
  void prepare(MatchingStep step, SyntheticSet::Forward const&) override {
    if (!gradients_) return;
    target_.head = head_.at(step);
    target_.expert_gradients = real_.expert_gradients()(target_.head, number_of(step));
  }
  FeatureMatch match(Chunk const& chunk, at::Tensor const& features) const override {
    return match_classes(target_, features, chunk.first_class, chunk.classes);
  }
  void learn(MatchingStep step, SyntheticSet const& set) override {
    if (gradients_) head_.learn(step, set);
  }
  double loss(at::Tensor const& features, at::Tensor const&) const override { return class_loss(comparing_, features); }
  std::map<std::string, at::Tensor> state() const override { return head_.state(); }
  void restore(std::map<std::string, at::Tensor> const& state) override { head_.restore(state); }

 private:
  RealSide const& real_;
  MovingHead head_;
  bool gradients_;
  ClassTarget target_;
  std::vector<ClassTarget> comparing_;
};

// dc with an unfrozen encoder: its weights' gradients are matched too (scDD, table VII).
class UnfrozenMatching final : public Matching {
 public:
  UnfrozenMatching(RealSide const& real, MovingHead head) : real_(real), head_(std::move(head)) {}
  bool sees_set() const override { return true; }
  bool sees_cells() const override { return true; }
  void prepare(MatchingStep step, SyntheticSet::Forward const& made) override {
    by_cells_ = real_.encoder_matching()(head_.at(step), made.cells, number_of(step)).by_cells;
  }
  FeatureMatch match(Chunk const& chunk, at::Tensor const& features) const override {
    return cut(chunk, features, {}, by_cells_);
  }
  void learn(MatchingStep step, SyntheticSet const& set) override { head_.learn(step, set); }
  double loss(at::Tensor const&, at::Tensor const& cells) const override {
    return real_.encoder_matching().loss(real_.deep_head(RealSide::first_comparing_head), cells,
                                         RealSide::first_comparing_head);
  }
  std::map<std::string, at::Tensor> state() const override { return head_.state(); }
  void restore(std::map<std::string, at::Tensor> const& state) override { head_.restore(state); }

 private:
  RealSide const& real_;
  MovingHead head_;
  at::Tensor by_cells_;
};

// dc as scDD's eq 5 has it: the gradients of a student, trained on the set, and of an expert, trained on the real
// cells.
class StudentExpertMatching final : public Matching {
 public:
  StudentExpertMatching(RealSide const& real, HeadOptions const& head, std::int64_t epochs)
      : real_(real), student_{real.options().metric, inner_training(head, 1), epochs} {}
  bool sees_set() const override { return true; }
  void prepare(MatchingStep step, SyntheticSet::Forward const& made) override {
    by_features_ = matched(number_of(step), made.features).gradient;
  }
  FeatureMatch match(Chunk const& chunk, at::Tensor const& features) const override {
    return cut(chunk, features, by_features_, {});
  }
  double loss(at::Tensor const& features, at::Tensor const&) const override {
    double sum = 0;
    for (std::uint64_t i = 0; i < RealSide::comparing_heads; ++i)
      sum +=
          matched(RealSide::first_comparing_head + i, features).loss / static_cast<double>(RealSide::comparing_heads);
    return sum;
  }

 private:
  StudentExpertMatch matched(std::uint64_t number, at::Tensor const& features) const {
    return match_student_expert(real_.expert_gradients(), real_.deep_head(number), features,
                                labels_of(features, real_.classes()), real_.feature_scale(), student_,
                                real_.options().seed, number);
  }

  RealSide const& real_;
  StudentExpertOptions student_;
  at::Tensor by_features_;
};

// head: a fresh linear head that learned from the set is good on all real cells.
class TrainedHeadMatching final : public Matching {
 public:
  explicit TrainedHeadMatching(RealSide const& real) : real_(real) {}
  bool sees_set() const override { return true; }
  void prepare(MatchingStep step, SyntheticSet::Forward const& made) override {
    at::Tensor const labels = labels_of(made.features, real_.classes());
    by_features_ = real_.head_matching()(made.features, labels, real_.linear_head(number_of(step))).gradient;
  }
  FeatureMatch match(Chunk const& chunk, at::Tensor const& features) const override {
    return cut(chunk, features, by_features_, {});
  }
  double loss(at::Tensor const& features, at::Tensor const&) const override {
    at::Tensor const labels = labels_of(features, real_.classes());
    double sum = 0;
    for (std::uint64_t i = 0; i < RealSide::comparing_heads; ++i)
      sum += real_.head_matching().loss(features, labels, real_.deep_head(RealSide::first_comparing_head + i)) /
             static_cast<double>(RealSide::comparing_heads);
    return sum;
  }

 private:
  RealSide const& real_;
  at::Tensor by_features_;
};

// genes: logistic regression on genes that learned from the set is good on real cells.
class GeneStudentMatching final : public Matching {
 public:
  explicit GeneStudentMatching(RealSide const& real) : real_(real) {}
  bool sees_set() const override { return true; }
  bool sees_cells() const override { return true; }
  void prepare(MatchingStep, SyntheticSet::Forward const& made) override {
    by_cells_ = real_.gene_matching()(made.cells, labels_of(made.cells, real_.classes())).by_cells;
  }
  FeatureMatch match(Chunk const& chunk, at::Tensor const& features) const override {
    return cut(chunk, features, {}, by_cells_);
  }
  double loss(at::Tensor const&, at::Tensor const& cells) const override {
    return real_.gene_matching().loss(cells, labels_of(cells, real_.classes()));
  }

 private:
  RealSide const& real_;
  at::Tensor by_cells_;
};

// Several at once, or none: their losses are added.
class SumOfMatchings final : public Matching {
 public:
  explicit SumOfMatchings(std::vector<std::unique_ptr<Matching>> parts) : parts_(std::move(parts)) {}
  bool sees_set() const override { return any(&Matching::sees_set); }
  bool sees_cells() const override { return any(&Matching::sees_cells); }
  void prepare(MatchingStep step, SyntheticSet::Forward const& made) override {
    for (auto const& part : parts_) part->prepare(step, made);
  }
  FeatureMatch match(Chunk const& chunk, at::Tensor const& features) const override {
    FeatureMatch sum;
    for (auto const& part : parts_) sum = sum_of(sum, part->match(chunk, features));
    return sum;
  }
  void learn(MatchingStep step, SyntheticSet const& set) override {
    for (auto const& part : parts_) part->learn(step, set);
  }
  double loss(at::Tensor const& features, at::Tensor const& cells) const override {
    double sum = 0;
    for (auto const& part : parts_) sum += part->loss(features, cells);
    return sum;
  }
  std::map<std::string, at::Tensor> state() const override {  // one part at most has any: it is the head of dc
    for (auto const& part : parts_)
      if (auto state = part->state(); !state.empty()) return state;
    return {};
  }
  void restore(std::map<std::string, at::Tensor> const& state) override {
    for (auto const& part : parts_) part->restore(state);
  }

 private:
  bool any(bool (Matching::*asks)() const) const {
    return std::any_of(parts_.begin(), parts_.end(), [&](auto const& part) { return (part.get()->*asks)(); });
  }
  std::vector<std::unique_ptr<Matching>> parts_;
};

}  // namespace

std::unique_ptr<Matching> choose_matching(MatchingParts const& parts, RealSide const& real,
                                          DistillOptions const& options, HeadOptions const& head, std::int64_t spc) {
  auto const loop = inner_loop(options, spc);
  MovingHead const moving(real, head, loop);
  bool const by_class = parts.gradients && !options.encoder_unfrozen() && !options.student_expert();
  std::vector<std::unique_ptr<Matching>> chosen;
  if (parts.means || by_class) {
    MatchingParts of_classes = parts;
    of_classes.gradients = by_class;
    chosen.push_back(std::make_unique<ClassMatching>(of_classes, real, moving));
  }
  if (parts.gradients && options.encoder_unfrozen()) chosen.push_back(std::make_unique<UnfrozenMatching>(real, moving));
  if (parts.gradients && options.student_expert())
    chosen.push_back(std::make_unique<StudentExpertMatching>(real, head, loop.inner_epochs));
  if (parts.head) chosen.push_back(std::make_unique<TrainedHeadMatching>(real));
  if (parts.genes) chosen.push_back(std::make_unique<GeneStudentMatching>(real));
  if (chosen.size() == 1) return std::move(chosen.front());
  return std::make_unique<SumOfMatchings>(std::move(chosen));
}

}  // namespace retort
