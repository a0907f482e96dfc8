#include "retort/report/finished_run.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <tuple>

#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

constexpr std::array verbs{"ingest", "train-foundation", "embed", "train-diffusion", "distill", "evaluate"};

std::string text_of(fs::path const& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

nlohmann::json json_file(fs::path const& file, char const* program) {
  if (!fs::exists(file)) return nullptr;
  auto const read = nlohmann::json::parse(text_of(file), nullptr, false);
  if (!read.is_object()) fail(ExitCode::bad_input, "'{}' is not the JSON that {} writes (damaged, or of another program). Run {} again", file.string(), program, program);
  return read;
}

// The events of a log since its stage last began with other settings or inputs.
std::vector<nlohmann::json> events_of(fs::path const& log) {
  std::vector<nlohmann::json> events;
  std::string key;
  std::ifstream stream(log);
  for (std::string line; std::getline(stream, line);) {
    auto event = nlohmann::json::parse(line, nullptr, false);  // a run that was killed may leave half a line
    if (!event.is_object() || !event.contains("event") || !event["event"].is_string()) continue;
    if (event["event"] == "start" && event.value("key", "") != key) {
      key = event.value("key", "");
      events.clear();
    }
    events.push_back(std::move(event));
  }
  return events;
}

std::map<std::string, std::vector<double>> steps_of(fs::path const& file) {
  std::map<std::string, std::vector<double>> columns;
  std::vector<std::string> names;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream fields(line);
    std::vector<std::string> values;
    for (std::string field; std::getline(fields, field, '\t');) values.push_back(field);
    if (names.empty()) names = values;
    else if (values.size() == names.size())
      for (std::size_t i = 0; i < names.size(); ++i) columns[names[i]].push_back(std::strtod(values[i].c_str(), nullptr));
  }
  return columns;
}

Stage stage_of(fs::path const& folder, std::string const& verb, std::vector<nlohmann::json> const& events) {
  Stage stage{.verb = verb, .options = text_of(folder / "options.ini"), .build = text_of(folder / "build.txt"), .is_done = fs::exists(folder / "DONE")};
  double began = -1;  // -1: not running
  for (auto const& event : events) {
    double const time = event.value("time", 0.0);
    if (event["event"] == "start") {
      began = time;
      stage.ranks = event.value("ranks", std::int64_t{1});
    } else if (event["event"] == "end" && began >= 0) {
      stage.seconds += time - began;
      began = -1;
    }
  }
  return stage;
}

void read_scores(std::vector<nlohmann::json> const& events, FinishedRun& run) {
  std::map<std::string, std::size_t> order;
  std::map<std::tuple<std::size_t, double, double>, ScoredStep> scored;  // a resumed run tells some steps twice
  for (auto const& event : events) {
    std::string const set = event.value("set", "");
    if (set.empty()) continue;
    std::size_t const place = order.try_emplace(set, order.size()).first->second;
    double const rate = event.value("rate", 0.0);
    if (event["event"] == "score") {
      double const step = event.value("step", 0.0);
      scored[{place, rate, step}] = {set, rate, step, event.value("loss", 0.0), event.value("held_out", 0.0)};
    }
    if (event["event"] == "set") run.chosen[set] = {rate, event.value("steps", 0.0)};
  }
  for (auto& [key, one] : scored) run.scored.push_back(std::move(one));
}

}  // namespace

fs::path FinishedRun::file(std::string const& product) const {
  return base.empty() || fs::exists(folder / product) ? folder / product : base / product;
}

std::vector<fs::path> files_of_page(fs::path const& folder, fs::path const& base) {
  FinishedRun run;
  run.folder = folder;
  run.base = base;
  if (!fs::exists(run.file("atlas.h5ad")))
    fail(ExitCode::missing_input, "'{}' has no atlas.h5ad (every run begins with one). Run retort-ingest, or name another folder with report.runs", folder.string());
  std::vector<fs::path> files;
  for (char const* name : {"atlas.h5ad", "features.h5ad", "foundation/config.json", "distilled.h5ad", "results.json", "ingest/summary.json"}) files.push_back(run.file(name));
  for (char const* verb : verbs)
    for (char const* name : {"options.ini", "steps.tsv", "DONE"}) files.push_back(folder / verb / name);
  std::erase_if(files, [](fs::path const& file) { return !fs::exists(file); });
  return files;
}

nlohmann::json row_named(nlohmann::json const& rows, std::string const& variant, std::string const& matching, std::int64_t spc) {
  if (rows.is_array())
    for (auto const& row : rows)
      if (row.value("variant", "") == variant && row.value("matching", "") == matching && row.value("spc", std::int64_t{0}) == spc) return row;
  return nullptr;
}

FinishedRun read_finished_run(fs::path const& folder, fs::path const& base) {
  FinishedRun run;
  run.folder = folder;
  run.base = base;
  run.name = fs::weakly_canonical(folder).filename().string();
  run.results = json_file(folder / "results.json", "retort-evaluate");
  run.ingested = json_file(run.file("ingest/summary.json"), "retort-ingest");
  for (char const* verb : verbs) {
    if (!fs::exists(folder / verb / "log.jsonl")) continue;
    auto const events = events_of(folder / verb / "log.jsonl");
    run.stages.push_back(stage_of(folder / verb, verb, events));
    if (verb == std::string("distill")) read_scores(events, run);
    else run.steps[verb] = steps_of(folder / verb / "steps.tsv");
  }
  run.product = product_set(folder / "distilled.h5ad");

  auto const lacks = [&](bool is_missing, char const* part, char const* program) {
    if (is_missing) run.missing.push_back(fmt::format("{} (run {})", part, program));
  };
  auto const there = [&](char const* name) { return fs::exists(run.file(name)); };
  lacks(run.results.is_null(), "accuracy", "retort-evaluate");
  lacks(!run.results.is_null() && !run.results.contains("confusion"), "which classes are taken for which", "this version's retort-evaluate");
  lacks(!there("features.h5ad"), "the map of cells", "retort-embed");
  lacks(!there("foundation/config.json"), "distilled cells on the map", "retort-train-foundation");
  lacks(!fs::exists(folder / "distilled.h5ad"), "distilled cells", "retort-distill");
  lacks(run.scored.empty(), "the course of distillation", "retort-distill");
  return run;
}

}  // namespace retort
