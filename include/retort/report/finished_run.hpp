// What a run folder says of itself: results, logs and settings of its stages. Products with cells are read elsewhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "retort/evaluate/distilled_sets.hpp"

namespace retort {

// One program's folder in the run.
struct Stage {
  std::string verb, options, build;   // options.ini and build.txt
  std::filesystem::path folder = {};  // of these
  std::int64_t ranks = 1;
  double seconds = 0;  // of its last settings, all starts together
  bool is_done = false;
};

// A state of a set that retort-distill scored.
struct ScoredStep {
  std::string set;
  double rate = 0, step = 0, loss = 0, held_out = 0;
};

struct FinishedRun {
  std::filesystem::path folder, base;  // base: the run whose atlas and networks it goes on with; empty: none
  std::string name;                    // of the folder
  nlohmann::json results, generation,
      ingested;  // results.json, generation.json, ingest/summary.json; null where missing
  std::vector<Stage>
      stages;  // in the order of the pipeline, those that were started; what its networks came from also in `base`
  std::map<std::string, std::map<std::string, std::vector<double>>> steps;  // columns of steps.tsv, by verb
  std::vector<ScoredStep> scored;                                           // by set as they were made, rate and step
  std::map<std::string, std::pair<double, double>> chosen;                  // rate and steps of each set
  std::optional<DistilledName> product;                                     // which set distilled.h5ad is
  std::vector<std::string> missing;  // parts of the page that cannot be made, and what makes them

  // Where the product `wanted` of the run is: its own, or the base's where it has none.
  std::filesystem::path file(std::string const& wanted) const;
};

// Not collective. Throws Failure(bad_input) where results.json or generation.json is no JSON.
FinishedRun read_finished_run(std::filesystem::path const& folder, std::filesystem::path const& base = {});

// The files that decide what the page says, those that are there: logs are not among them, because a stage that is
// asked again whether it is done appends to its log. Throws Failure(missing_input) where there is no atlas.
std::vector<std::filesystem::path> files_of_page(std::filesystem::path const& folder,
                                                 std::filesystem::path const& base = {});

// The sets of generation.json that lie in files; they may be gone by now.
struct GeneratedFile {
  std::string set;
  std::filesystem::path file;
  std::size_t comparison = 0;
};
std::vector<GeneratedFile> generated_sets(nlohmann::json const& generation);

// Whether a row or an audit is of the product's variant, matching and spc.
bool is_of_product(FinishedRun const& run, nlohmann::json const& row);

// The row of `rows` (see json_of) with this variant, matching and spc; null where there is none.
nlohmann::json row_named(nlohmann::json const& rows, std::string const& variant, std::string const& matching,
                         std::int64_t spc);

// Numbers of results.json and generation.json, which may be missing, and how a page shows them.

// NaN where `object` is none, has no such key, or has no number there.
double number_in(nlohmann::json const& object, std::string const& key);

// A dash for what is not finite.
std::string fixed(double value, int digits);

// "0.53 (0.49–0.57)", with `between` for the line: an audit's area under the curve of `attack` and its interval, where
// it has one.
std::string area_of(nlohmann::json const& audit, std::string const& attack, std::string const& between);

}  // namespace retort
