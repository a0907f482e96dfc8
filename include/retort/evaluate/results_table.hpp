// The rows of results.json and of the table that a person reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "retort/evaluate/protocol.hpp"

namespace retort {

// What one kind of set reached; accuracies in per cent. A value that a row does not have is null in JSON.
struct ResultRow {
  std::string variant;   // of a distilled set; random, medoid, kmeans, class_mean, kmeans_mean; full, genes
  std::string matching;  // of a distilled set, else empty
  std::int64_t spc = 0;  // 0: all cells
  std::int64_t draws = 1;
  double accuracy_mean = 0;      // over all heads of all draws
  double accuracy_sd = 0;        // over all heads of all draws (n - 1)
  double accuracy_sd_draws = 0;  // over the draws' means (n - 1); 0 for one draw
  double macro_f1 = 0;
  double seconds = 0;              // of making one set (where this run knows it) and training its heads
  std::optional<double> headroom;  // (accuracy - random) / (full - random), random of the same spc
  std::optional<double> held_out_accuracy;
  std::vector<double> accuracy_by_draw;  // means over the heads of each draw
  std::vector<double> recall;            // a class, mean over heads; NaN for a class without test cells
};

// The table of one kind of classifier beside the heads: `key` is its name in results.json, `title` what is printed
// above it.
struct JudgedRows {
  std::string key, title;
  std::vector<ResultRow> rows;
};

// Averages the heads of all draws of one set into a row; one entry of `draws` a draw, none empty.
ResultRow row_of(std::string variant, std::string matching, std::int64_t spc, std::vector<HeadScores> const& draws,
                 double seconds);

// Fills in headroom where the rows of random cells and of full data are there and differ.
void add_headroom(std::vector<ResultRow>& rows);

// Header and one line a row: variant, matching, SPC, draws, accuracy and sd, macro F1, headroom, seconds.
std::string table_of(std::vector<ResultRow> const& rows);

// {"rows": [...]}; recall is an object by class name, of classes that have test cells.
nlohmann::json json_of(std::vector<ResultRow> const& rows, std::vector<std::string> const& class_names);

}  // namespace retort
