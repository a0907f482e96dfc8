#include "retort/evaluate/results_table.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

double mean(std::vector<double> const& values) {
  double sum = 0;
  for (double const value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double deviation(std::vector<double> const& values) {
  if (values.size() < 2) return 0;
  double const centre = mean(values);
  double squares = 0;
  for (double const value : values) squares += (value - centre) * (value - centre);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

nlohmann::json or_null(std::optional<double> const& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

}  // namespace

ResultRow row_of(std::string variant, std::string matching, std::int64_t spc, std::vector<HeadScores> const& draws,
                 double seconds) {
  ResultRow row;
  row.variant = std::move(variant);
  row.matching = std::move(matching);
  row.spc = spc;
  row.draws = static_cast<std::int64_t>(draws.size());
  row.seconds = seconds;
  row.recall.assign(draws.front().test.front().recall.size(), 0.0);
  std::vector<double> accuracies, of_draws, macro_f1, held_out;
  for (auto const& draw : draws) {
    std::vector<double> own;
    for (auto const& scores : draw.test) {
      own.push_back(scores.accuracy);
      macro_f1.push_back(scores.macro_f1);
      for (std::size_t c = 0; c < row.recall.size(); ++c) row.recall[c] += scores.recall[c];
    }
    accuracies.insert(accuracies.end(), own.begin(), own.end());
    of_draws.push_back(mean(own));
    held_out.insert(held_out.end(), draw.held_out.begin(), draw.held_out.end());
  }
  row.accuracy_mean = mean(accuracies);
  row.accuracy_sd = deviation(accuracies);
  row.accuracy_sd_draws = deviation(of_draws);
  row.accuracy_by_draw = std::move(of_draws);
  row.macro_f1 = mean(macro_f1);
  for (double& value : row.recall) value /= static_cast<double>(accuracies.size());
  if (!held_out.empty()) row.held_out_accuracy = mean(held_out);
  return row;
}

void add_headroom(std::vector<ResultRow>& rows) {
  for (auto& row : rows) {
    std::optional<double> random, full;
    for (auto const& other : rows) {
      if (other.variant == "random" && other.matching.empty() && other.spc == row.spc) random = other.accuracy_mean;
      if (other.variant == "full") full = other.accuracy_mean;
    }
    if (row.spc && random && full && *full != *random) row.headroom = (row.accuracy_mean - *random) / (*full - *random);
  }
}

std::string table_of(std::vector<ResultRow> const& rows) {
  auto text = fmt::format("{:<16} {:<8} {:>4} {:>5}  {:>15}  {:>8}  {:>8}  {:>8}\n", "variant", "matching", "SPC",
                          "draws", "accuracy ± sd", "macro F1", "headroom", "seconds");
  for (auto const& row : rows) {
    text += fmt::format("{:<16} {:<8} {:>4} {:>5}  {:>15}  {:>8.2f}  {:>8}  {:>8}\n", row.variant,
                        row.matching.empty() ? "-" : row.matching, row.spc ? std::to_string(row.spc) : "all", row.draws,
                        fmt::format("{:.2f} ± {:.2f}", row.accuracy_mean, row.accuracy_sd), row.macro_f1,
                        row.headroom ? fmt::format("{:.1f} %", 100 * *row.headroom) : "-",
                        row.seconds > 0 ? fmt::format("{:.2f}", row.seconds) : "-");
  }
  return text;
}

nlohmann::json json_of(std::vector<ResultRow> const& rows, std::vector<std::string> const& class_names) {
  auto list = nlohmann::json::array();
  for (auto const& row : rows) {
    auto recall = nlohmann::json::object();
    for (std::size_t c = 0; c < row.recall.size(); ++c)
      if (!std::isnan(row.recall[c])) recall[class_names[c]] = row.recall[c];
    list.push_back({{"variant", row.variant},
                    {"matching", row.matching},
                    {"spc", row.spc},
                    {"draws", row.draws},
                    {"accuracy_mean", row.accuracy_mean},
                    {"accuracy_sd", row.accuracy_sd},
                    {"accuracy_sd_draws", row.accuracy_sd_draws},
                    {"accuracy_by_draw", row.accuracy_by_draw},
                    {"macro_f1", row.macro_f1},
                    {"seconds", row.seconds},
                    {"headroom", or_null(row.headroom)},
                    {"held_out_accuracy", or_null(row.held_out_accuracy)},
                    {"recall", recall}});
  }
  return {{"rows", list}};
}

}  // namespace retort
