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
#include "retort/run/stop_signals.hpp"
#include "retort/run/stopwatch.hpp"

namespace retort {

// Section [run]: where and how; of these, seed, shards, threads and device are part of the result. Same in every
// program.
struct RunOptions {
  std::string folder = "runs/retort", base;
  std::int64_t seed = 0;
  std::int64_t threads = 1;
  std::int64_t shards = 0;
  double deadline_seconds = 1800;
  double checkpoint_seconds = 600;
  std::int64_t checkpoint_steps = 0;
  std::int64_t keep_checkpoints = 2;
  double stop_before_seconds = 60;
  bool again = false;
  std::string device = "auto";
};

// What a program's body gets.
struct Session {
  Session(Communicator const& all, RunFolder& own, OptionTable const& settings, RunOptions const& options,
          Request request = Request::run)
      : ranks(all),
        folder(own),
        table(settings),
        run(options),
        dry_run(request == Request::dry_run),
        only_asks_(request == Request::is_done) {}

  Communicator const& ranks;
  RunFolder& folder;
  OptionTable const& table;
  RunOptions const& run;
  bool dry_run;  // print the plan and return

  // A line on stderr, from rank 0: `retort-ingest: TEXT`.
  void say(std::string const& text) const;
  Progress progress(std::string const& what, std::int64_t total, std::string const& unit) const;
  // Collective: true when this stage was finished with the same settings and inputs, which is then said; otherwise
  // options.ini and build.txt are written and the stage begins. --run.again begins in any case. Under --is-done the
  // program ends here, with 0 or 1. Throws Failure(usage) for products that would replace what they must not,
  // Failure(cannot_write) where their folder cannot be made. `kept`: what no product may replace either, though it is
  // not read.
  bool is_done(std::vector<std::filesystem::path> const& inputs, std::vector<std::filesystem::path> const& kept = {});
  // Collective: marks the stage whole and drops its checkpoints; call it after the last product was published. The
  // stage counts as done while these files and folders stay as they are now.
  void set_done(std::vector<std::filesystem::path> const& products);
  // Collective, at a step boundary: what signals on any rank, the file RUN/STOP, the job's time limit and the interval
  // of checkpoints ask for; the same on all ranks. One small reduction.
  Wish boundary();
  // Whether this rank has heard of what boundary() will call a stop: signals, the job's time limit, on rank 0 the file
  // RUN/STOP. For long work between two boundaries, which may then be given up. Not collective.
  bool hears_stop();
  // Collective: ends a run that Wish::stop or lost asked to stop, by a Failure(stopped) that all ranks throw: exit
  // code 75.
  [[noreturn]] void stop(Wish why, std::string const& at) const;
  // What decides the bits of this stage: settings and inputs. Empty before is_done().
  std::string const& key() const { return key_; }
  // What the program writes: the path of a setting, or RUN/<name> where it is empty. A path that somebody named is
  // looked at in is_done(): it must not be an input or hold one, a file must replace a file, and a folder one with
  // `files` alone (of a model), so that nothing else is lost.
  std::filesystem::path product(std::string const& setting, std::string const& name,
                                std::vector<std::string> const& files = {});
  // What it reads: the same, or run.base's <name> where RUN has none.
  std::filesystem::path input(std::string const& setting, std::string const& name) const;
  // Collective: the same, or nothing where the setting is empty and rank 0 finds nothing there.
  std::filesystem::path input_if_any(std::string const& setting, std::string const& name) const;

 private:
  struct NamedProduct {
    std::filesystem::path path;
    bool is_folder;
    std::vector<std::string> files;
  };
  void require_replaceable(NamedProduct const& product, std::vector<std::filesystem::path> const& inputs,
                           std::vector<std::filesystem::path> const& kept) const;

  bool only_asks_;
  std::vector<NamedProduct> named_products_;
  std::string key_;
  Stopwatch since_checkpoint_, since_look_;
  bool saw_stop_file_ = false;
  std::int64_t steps_since_checkpoint_ = 0;
};

// Runs a program: parses (so --help, --version and --print-config work without mpirun), starts MPI, one LibTorch thread
// a rank, the watchdog and the run folder, then `body`. Returns the exit code; a failure that all ranks agreed on is
// spoken by rank 0 and all finalise, a lone one is spoken where it happened and ends the job by MPI_Abort with its
// code.
int run_program(int argc, char** argv, OptionTable& table, std::function<void(Session&)> const& body);

}  // namespace retort
