#include "retort/distill/scoring.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "retort/cells/feature_rows.hpp"
#include "retort/distill/real_features.hpp"
#include "retort/ranks/share.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {
constexpr std::uint64_t first_choosing_head = std::uint64_t{1}
                                              << 42;  // apart from those that judge and those that are matched
}

HeldOut::HeldOut(std::filesystem::path const& features, Labels const& labels, std::vector<Part> const& parts)
    : classes_(labels.classes()), is_fit_part_(std::find(parts.begin(), parts.end(), Part::held_out) == parts.end()) {
  std::vector<std::int64_t> codes;
  for (std::size_t row = 0; row < parts.size(); ++row) {
    if (parts[row] != (is_fit_part_ ? Part::fit : Part::held_out)) continue;
    rows_.push_back(static_cast<std::int64_t>(row));
    codes.push_back(labels.codes[row]);
  }
  features_ = read_feature_rows(features, rows_);
  labels_ = at::tensor(codes, at::kLong);
}

double HeldOut::accuracy(Communicator const& ranks, at::Tensor const& features, at::Tensor const& labels,
                         HeadOptions const& options, std::int64_t heads, std::uint64_t seed) const {
  RowRange const own = share_of(heads, ranks.rank(), ranks.size());
  std::vector<double> accuracies;
  ranks.together([&] {
    for (std::int64_t number = own.begin; number < own.end; ++number) {
      Head const head = train_head(features, labels, classes_, options, seed,
                                   first_choosing_head + static_cast<std::uint64_t>(number));
      accuracies.push_back(score(predict(head, features_, options), labels_, classes_).accuracy);
    }
  });
  double sum = 0;
  for (double const accuracy : ranks.gather(std::span<double const>(accuracies))) sum += accuracy;  // in order of heads
  return sum / static_cast<double>(heads);
}

HeldOutGenes::HeldOutGenes(Communicator const& ranks, HeldOut const& held_out, GeneMatching::Read const& read)
    : cells_(std::min(held_out.cells(), most_rows)), classes_(held_out.classes()) {
  RowRange const share = share_of(cells_, ranks.rank(), ranks.size());
  ranks.together(
      [&] { own_.cells = read(std::span(held_out.rows()).subspan(index(share.begin), index(share.size()))); });
  std::int64_t const* const labels = held_out.labels().const_data_ptr<std::int64_t>();
  own_.labels.assign(labels + share.begin, labels + share.end);
}

double HeldOutGenes::accuracy(Communicator const& ranks, at::Tensor const& cells, at::Tensor const& labels) const {
  constexpr std::int64_t most_cells = 512;  // the student solves for as many numbers, class by class
  std::int64_t const spc = cells.size(0) / classes_,
                     taken = std::min(spc, std::max<std::int64_t>(1, most_cells / classes_));
  auto const first = [&](at::Tensor const& of_all) {
    return of_all.unflatten(0, {classes_, spc}).narrow(1, 0, taken).flatten(0, 1);
  };
  GeneStudent const student(first(cells), first(labels), classes_);
  at::Tensor const weight = student.weight().to(at::kFloat).contiguous(),
                   bias = student.bias().to(at::kFloat).contiguous();
  auto const predicted = predict_classes(own_.cells, {weight.const_data_ptr<float>(), index(weight.numel())},
                                         {bias.const_data_ptr<float>(), index(bias.numel())});
  std::int64_t right = 0;
  for (std::size_t i = 0; i < predicted.size(); ++i) right += predicted[i] == own_.labels[i];
  return 100.0 * static_cast<double>(ranks.sum(right)) / static_cast<double>(std::max<std::int64_t>(1, cells_));
}

std::size_t best_candidate(std::vector<Candidate> const& candidates, std::int64_t held_out_cells) {
  double highest = 0;
  for (auto const& candidate : candidates) highest = std::max(highest, candidate.choice);
  double const share = std::clamp(highest / 100, 0.01, 0.99);
  double const standard_error =
      100 * std::sqrt(share * (1 - share) / static_cast<double>(std::max<std::int64_t>(1, held_out_cells)));
  std::size_t best = candidates.size();
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].choice < highest - standard_error) continue;
    if (best == candidates.size() || candidates[i].loss < candidates[best].loss) best = i;
  }
  return best;
}

}  // namespace retort
