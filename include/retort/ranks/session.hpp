// Starts and ends a program: settings, MPI, device, run folder, and what happens when something throws.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "retort/ranks/communicator.hpp"
#include "retort/run/error.hpp"
#include "retort/run/option_table.hpp"
#include "retort/run/progress.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {

// Section [run]: where and how, never what. Same in every program.
struct RunOptions {
  std::string folder = "runs/retort";
  std::int64_t seed = 0;
  std::int64_t threads = 1;
  std::int64_t shards = 0;
  double deadline_seconds = 1800;
  bool again = false;
  std::string device = "auto";
};

// What a program's body gets.
struct Session {
  Session(Communicator const& all, RunFolder& own, OptionTable const& settings, RunOptions const& options, bool only_plan)
      : ranks(all), folder(own), table(settings), run(options), dry_run(only_plan) {}

  Communicator const& ranks;
  RunFolder& folder;
  OptionTable const& table;
  RunOptions const& run;
  bool dry_run;  // print the plan and return

  // A line on stderr, from rank 0: `retort-ingest: TEXT`.
  void say(std::string const& text) const;
  Progress progress(std::string const& what, std::int64_t total, std::string const& unit) const;
  // Collective: true when this stage was finished with the same settings and inputs, which is then said; otherwise
  // options.ini and build.txt are written and the stage begins. --run.again begins in any case.
  bool is_done(std::vector<std::filesystem::path> const& inputs);
  // Collective: marks the stage whole; call it after the last product was published.
  void set_done();
  // The path of a setting, or RUN/<name> where it is empty.
  std::filesystem::path product(std::string const& setting, std::string const& name) const;

 private:
  std::string key_;
};

// Runs a program: parses (so --help, --version and --print-config work without mpirun), starts MPI, one LibTorch thread a
// rank, the watchdog and the run folder, then `body`. Returns the exit code; a failure that all ranks agreed on is spoken
// by rank 0 and all finalise, a lone one is spoken where it happened and ends the job by MPI_Abort with its code.
int run_program(int argc, char** argv, OptionTable& table, std::function<void(Session&)> const& body);

}  // namespace retort
