#include "retort/distill/scoring.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "retort/matching/real_features.hpp"
#include "retort/ranks/share.hpp"

namespace retort {
namespace {
constexpr std::uint64_t first_choosing_head = std::uint64_t{1} << 42;  // apart from those that judge and those that are matched
}

HeldOut::HeldOut(std::filesystem::path const& features, Labels const& labels, std::vector<Part> const& parts)
    : classes_(labels.classes()), is_fit_part_(std::find(parts.begin(), parts.end(), Part::held_out) == parts.end()) {
  std::vector<std::int64_t> rows, codes;
  for (std::size_t row = 0; row < parts.size(); ++row) {
    if (parts[row] != (is_fit_part_ ? Part::fit : Part::held_out)) continue;
    rows.push_back(static_cast<std::int64_t>(row));
    codes.push_back(labels.codes[row]);
  }
  features_ = read_feature_rows(features, rows);
  labels_ = at::tensor(codes, at::kLong);
}

double HeldOut::accuracy(Communicator const& ranks, at::Tensor const& features, at::Tensor const& labels, HeadOptions const& options,
                         std::int64_t heads, std::uint64_t seed) const {
  RowRange const own = share_of(heads, ranks.rank(), ranks.size());
  std::vector<double> accuracies;
  ranks.together([&] {
    for (std::int64_t index = own.begin; index < own.end; ++index) {
      LinearHead const head = train_head(features, labels, classes_, options, seed, first_choosing_head + static_cast<std::uint64_t>(index));
      accuracies.push_back(score(predict(head, features_, options), labels_, classes_).accuracy);
    }
  });
  double sum = 0;
  for (double const accuracy : ranks.gather(std::span<double const>(accuracies))) sum += accuracy;  // in order of heads
  return sum / static_cast<double>(heads);
}

std::size_t best_candidate(std::vector<Candidate> const& candidates, std::int64_t held_out_cells) {
  double highest = 0;
  for (auto const& candidate : candidates) highest = std::max(highest, candidate.accuracy);
  double const share = std::clamp(highest / 100, 0.01, 0.99);
  double const standard_error = 100 * std::sqrt(share * (1 - share) / static_cast<double>(std::max<std::int64_t>(1, held_out_cells)));
  std::size_t best = candidates.size();
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].accuracy < highest - standard_error) continue;
    if (best == candidates.size() || candidates[i].loss < candidates[best].loss) best = i;
  }
  return best;
}

}  // namespace retort
