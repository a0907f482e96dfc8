#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "retort/audits/set_expression.hpp"

namespace retort {
namespace {

constexpr std::size_t most_markers = 50;
constexpr std::int64_t least_cells_to_test = 5;
constexpr double discovery_rate = 0.05;

// The genes of the highest values, sorted by gene; of equal values the first.
std::vector<std::size_t> highest(std::vector<double> const& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  auto const middle = order.begin() + static_cast<std::ptrdiff_t>(std::min(most_markers, order.size()));
  std::partial_sort(order.begin(), middle, order.end(),
                    [&](auto a, auto b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
  order.erase(middle, order.end());
  std::sort(order.begin(), order.end());
  return order;
}

double shared(std::vector<std::size_t> const& a, std::vector<std::size_t> const& b) {
  std::vector<std::size_t> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return static_cast<double>(both.size());
}

std::vector<double> scores_of(GeneStatistics const& statistics, std::size_t of_class) {
  std::vector<double> scores;
  for (std::size_t i = of_class; i < statistics.score.size(); i += statistics.cells.size())
    scores.push_back(statistics.score[i]);
  return scores;
}

// Over all classes together.
struct Calls {
  std::int64_t classes = 0, real = 0, distilled = 0, right = 0;

  void add(GeneStatistics const& of_real, GeneStatistics const& of_set, std::size_t of_class) {
    auto const wanted = of_real.false_discovery_rates(static_cast<std::int64_t>(of_class)),
               given = of_set.false_discovery_rates(static_cast<std::int64_t>(of_class));
    auto const real_scores = scores_of(of_real, of_class), scores = scores_of(of_set, of_class);
    ++classes;
    for (std::size_t g = 0; g < wanted.size(); ++g) {
      bool const is_called = given[g] < discovery_rate, is_real = wanted[g] < discovery_rate;
      real += is_real;
      distilled += is_called;
      right += is_called && is_real && (scores[g] > 0) == (real_scores[g] > 0);
    }
  }
  nlohmann::json json() const {
    auto const share = [&](std::int64_t of) {
      return of ? nlohmann::json(static_cast<double>(right) / static_cast<double>(of)) : nlohmann::json(nullptr);
    };
    return {{"classes", classes},
            {"real", real},
            {"distilled", distilled},
            {"precision", share(distilled)},
            {"recall", share(real)}};
  }
};

}  // namespace

nlohmann::json audit_marker_genes(GeneStatistics const& real, GeneStatistics const& distilled,
                                  std::vector<std::string> const& names) {
  auto by_class = nlohmann::json::object();
  double spearmans = 0, jaccards = 0, precisions = 0, classes = 0, correlated = 0;
  Calls calls;
  for (std::size_t c = 0; c < names.size(); ++c) {
    auto const compares = [&](GeneStatistics const& statistics) {
      return statistics.cells[c] > 0 && statistics.cells[c] < statistics.all_cells();
    };
    if (!compares(real) || !compares(distilled)) continue;
    auto const folds = distilled.folds(static_cast<std::int64_t>(c)),
               real_folds = real.folds(static_cast<std::int64_t>(c));
    auto const own = highest(folds);
    double const by_fold = shared(own, highest(real_folds)), by_score = shared(own, highest(scores_of(real, c)));
    double const correlation = spearman(real_folds, folds), size = static_cast<double>(own.size()),
                 jaccard = by_fold / (2 * size - by_fold);
    by_class[names[c]] = {
        {"fold_spearman", correlation}, {"jaccard_at_50", jaccard}, {"precision_at_50", by_score / size}};
    if (std::isfinite(correlation)) {
      spearmans += correlation;
      ++correlated;
    }
    jaccards += jaccard;
    precisions += by_score / size;
    ++classes;
    if (std::min(real.cells[c], distilled.cells[c]) >= least_cells_to_test) calls.add(real, distilled, c);
  }
  if (classes == 0) return nullptr;
  return {{"fold_spearman", spearmans / correlated},
          {"jaccard_at_50", jaccards / classes},
          {"precision_at_50", precisions / classes},
          {"calls", calls.classes ? calls.json() : nlohmann::json(nullptr)},
          {"by_class", by_class}};
}

}  // namespace retort
