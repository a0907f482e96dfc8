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

struct Verb {
  char const* name;
  bool may_be_of_base;  // whether a run goes on with what another one did
};
constexpr std::array verbs{Verb{"ingest", true},    Verb{"train-foundation", true}, Verb{"embed", true},
                           Verb{"train-vae", true}, Verb{"train-diffusion", true},  Verb{"generate", false},
                           Verb{"distill", false},  Verb{"evaluate", false},        Verb{"evaluate-generated", false}};

// Where a program of the run wrote.
fs::path folder_of(FinishedRun const& run, Verb const& verb) {
  bool const is_of_base = verb.may_be_of_base && !run.base.empty() && !fs::exists(run.folder / verb.name / "log.jsonl");
  return (is_of_base ? run.base : run.folder) / verb.name;
}

bool is_named(nlohmann::json const& row, std::string const& variant, std::string const& matching, std::int64_t spc) {
  return row.value("variant", "") == variant && row.value("matching", "") == matching &&
         row.value("spc", std::int64_t{0}) == spc;
}

std::string text_of(fs::path const& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

nlohmann::json json_file(fs::path const& file, char const* program) {
  if (!fs::exists(file)) return nullptr;
  auto const read = nlohmann::json::parse(text_of(file), nullptr, false);
  if (!read.is_object())
    fail(ExitCode::bad_input, "'{}' is not the JSON that {} writes (damaged, or of another program). Run {} again",
         file.string(), program, program);
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
    if (names.empty())
      names = values;
    else if (values.size() == names.size())
      for (std::size_t i = 0; i < names.size(); ++i)
        columns[names[i]].push_back(std::strtod(values[i].c_str(), nullptr));
  }
  return columns;
}

Stage stage_of(fs::path const& folder, std::string const& verb, std::vector<nlohmann::json> const& events) {
  Stage stage{.verb = verb,
              .options = text_of(folder / "options.ini"),
              .build = text_of(folder / "build.txt"),
              .folder = folder,
              .is_done = fs::exists(folder / "DONE")};
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

fs::path FinishedRun::file(std::string const& wanted) const {
  return base.empty() || fs::exists(folder / wanted) ? folder / wanted : base / wanted;
}

std::vector<fs::path> files_of_page(fs::path const& folder, fs::path const& base) {
  FinishedRun run;
  run.folder = folder;
  run.base = base;
  if (!fs::exists(run.file("atlas.h5ad")))
    fail(ExitCode::missing_input,
         "'{}' has no atlas.h5ad (every run begins with one). Run retort-ingest, or name another folder with "
         "report.runs",
         folder.string());
  std::vector<fs::path> files;
  for (char const* name : {"atlas.h5ad", "features.h5ad", "foundation/config.json", "distilled.h5ad", "results.json",
                           "ingest/summary.json"})
    files.push_back(run.file(name));
  files.push_back(folder / "generation.json");
  for (auto const& set : generated_sets(json_file(folder / "generation.json", "retort-evaluate-generated")))
    files.push_back(set.file);
  for (auto const& verb : verbs)
    for (char const* name : {"options.ini", "steps.tsv", "DONE"}) files.push_back(folder_of(run, verb) / name);
  std::erase_if(files, [](fs::path const& file) { return !fs::exists(file); });
  return files;
}

std::vector<GeneratedFile> generated_sets(nlohmann::json const& generation) {
  std::vector<GeneratedFile> sets;
  if (!generation.contains("rows") || !generation["rows"].is_array()) return sets;
  for (auto const& row : generation["rows"])
    if (row.is_object() && row.contains("file") && row["file"].is_string())
      sets.push_back({row.value("set", ""), row["file"].get<std::string>(), row.value("comparison", std::size_t{0})});
  return sets;
}

bool is_of_product(FinishedRun const& run, nlohmann::json const& row) {
  return run.product && row.is_object() && is_named(row, run.product->variant, run.product->matching, run.product->spc);
}

nlohmann::json row_named(nlohmann::json const& rows, std::string const& variant, std::string const& matching,
                         std::int64_t spc) {
  if (rows.is_array())
    for (auto const& row : rows)
      if (is_named(row, variant, matching, spc)) return row;
  return nullptr;
}

FinishedRun read_finished_run(fs::path const& folder, fs::path const& base) {
  FinishedRun run;
  run.folder = folder;
  run.base = base;
  run.name = fs::weakly_canonical(folder).filename().string();
  run.results = json_file(folder / "results.json", "retort-evaluate");
  run.generation = json_file(folder / "generation.json", "retort-evaluate-generated");
  run.ingested = json_file(run.file("ingest/summary.json"), "retort-ingest");
  for (auto const& verb : verbs) {
    auto const own = folder_of(run, verb);
    if (!fs::exists(own / "log.jsonl")) continue;
    auto const events = events_of(own / "log.jsonl");
    run.stages.push_back(stage_of(own, verb.name, events));
    if (verb.name == std::string("distill"))
      read_scores(events, run);
    else
      run.steps[verb.name] = steps_of(own / "steps.tsv");
  }
  run.product = product_set(folder / "distilled.h5ad");

  auto const lacks = [&](bool is_missing, char const* part, char const* program) {
    if (is_missing) run.missing.push_back(fmt::format("{} (run {})", part, program));
  };
  auto const there = [&](char const* name) { return fs::exists(run.file(name)); };
  auto const has_begun = [&](std::string const& verb) {
    return std::any_of(run.stages.begin(), run.stages.end(), [&](auto const& stage) { return stage.verb == verb; });
  };
  // A run makes a distilled set or new cells, or both; the page misses what belongs to what was begun.
  bool const makes_cells = has_begun("train-vae") || has_begun("generate") || !run.generation.is_null();
  bool const distils = !makes_cells || has_begun("distill") || has_begun("evaluate") || !run.results.is_null();
  lacks(makes_cells && run.generation.is_null(), "how like real cells the generated ones are",
        "retort-evaluate-generated");
  lacks(makes_cells && !there("vae"), "what the autoencoder keeps of cells", "retort-train-vae");
  if (!distils) return run;
  lacks(run.results.is_null(), "accuracy", "retort-evaluate");
  lacks(!run.results.is_null() && !run.results.contains("confusion"), "which classes are taken for which",
        "this version's retort-evaluate");
  lacks(!there("features.h5ad"), "the map of cells", "retort-embed");
  lacks(!there("foundation/config.json"), "distilled cells on the map", "retort-train-foundation");
  lacks(!fs::exists(folder / "distilled.h5ad"), "distilled cells", "retort-distill");
  lacks(run.scored.empty(), "the course of distillation", "retort-distill");
  return run;
}

double number_in(nlohmann::json const& object, std::string const& key) {
  if (!object.is_object()) return std::nan("");
  auto const found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : std::nan("");
}

std::string fixed(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "–";
}

std::string area_of(nlohmann::json const& audit, std::string const& attack, std::string const& between) {
  auto const area = fixed(number_in(audit, attack + "_auc"), 2);
  auto const interval = audit.value(attack + "_interval", nlohmann::json());
  bool const is_known =
      interval.is_array() && interval.size() == 2 && interval[0].is_number() && interval[1].is_number();
  return is_known
             ? fmt::format("{} ({:.2f}{}{:.2f})", area, interval[0].get<double>(), between, interval[1].get<double>())
             : area;
}

}  // namespace retort
