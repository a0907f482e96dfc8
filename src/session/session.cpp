#include "retort/session/session.hpp"

#include <ATen/Parallel.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <nlohmann/json.hpp>

#include "retort/ranks/share.hpp"
#include "retort/run/build_info.hpp"
#include "retort/run/hash.hpp"
#include "retort/run/watchdog.hpp"

namespace retort {
namespace {

void add_run_options(OptionTable& table, RunOptions& options) {
  table.add("run.folder", options.folder, "folder of this run: products, logs, what is done")
      .add("run.base", options.base,
           "another run's folder: what this one reads and does not have is read there (sweeps)")
      .add("run.seed", options.seed, "seed of everything random")
      .add("run.shards", options.shards,
           "virtual shards of a batch, a power of two; 0: 4, or the next power of two above the ranks. Part of the "
           "result")
      .add("run.threads", options.threads,
           "LibTorch threads per rank; two ranks of one thread beat one rank of two. Part of the result's last bits")
      .add("run.device", options.device, "auto, cpu or cuda (one GPU per rank)")
      .add("run.deadline_seconds", options.deadline_seconds,
           "a wait between ranks longer than this ends the job with 124")
      .add("run.checkpoint_seconds", options.checkpoint_seconds,
           "a program that trains, distils or generates checkpoints this often; 0: only when asked to (USR1)")
      .add("run.checkpoint_steps", options.checkpoint_steps,
           "also after so many steps, of retort-generate rounds; 0: by time alone")
      .add("run.keep_checkpoints", options.keep_checkpoints, "the newest so many are kept")
      .add("run.stop_before_seconds", options.stop_before_seconds,
           "this long before the job's time limit the run checkpoints and leaves with 75")
      .add("run.again", options.again, "run the stage again though it is done");
}

// The rank before MPI is started, as mpirun or srun tell it, so that help is printed once.
bool launched_as_root() {
  for (char const* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (char const* rank = std::getenv(name)) return std::string(rank) == "0";
  }
  return true;
}

// LibTorch frees and asks for the same large blocks every step; glibc would hand each back to the kernel.
void keep_large_blocks() {
  mallopt(M_MMAP_THRESHOLD, 1'000'000'000);
  mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
  mallopt(M_TOP_PAD, 64 << 20);
}

// What an exception says in one line: LibTorch appends a stack, which helps no user.
std::string one_line(std::exception const& error) {
  if (dynamic_cast<std::bad_alloc const*>(&error))
    return "there is not enough memory. Ask for less at a time, or for more ranks on more nodes";
  std::string const text = error.what();
  return text.substr(0, text.find('\n'));
}

// A stop that was asked for is no error.
void speak(std::string const& program, std::string const& text, int code, int rank, int ranks,
           std::string const& host) {
  std::string const step = Watchdog::step() >= 0 ? fmt::format(", step {}", Watchdog::step()) : "";
  std::string const where = ranks > 1 ? fmt::format(" [rank {} of {}, host {}{}]", rank, ranks, host, step) : "";
  bool const stopped = code == static_cast<int>(ExitCode::stopped);
  std::fprintf(stderr, "%s: %s%s%s\n", program.c_str(), stopped ? "" : "error: ", text.c_str(), where.c_str());
  std::fflush(stderr);
}

std::int64_t peak_megabytes() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return used.ru_maxrss * 1024 / 1'000'000;
}

// Ends a program that was only asked whether its stage is done.
struct Asked {
  bool done;
};

void run_body(OptionTable& table, RunOptions const& run, Request request, Communicator const& world,
              std::function<void(Session&)> const& body) {
  if (!world.same_on_all_ranks(hash_bytes(table.fingerprint().data(), table.fingerprint().size()))) {
    Failure differ(
        ExitCode::usage,
        "the ranks were started with different settings. Give every rank the same command line and --config");
    differ.agreed = true;
    throw differ;
  }
  std::string verb = table.program().substr(table.program().find('-') + 1);
  std::optional<RunFolder> folder;
  world.together([&] { folder.emplace(run.folder, verb, world.is_root() && request == Request::run); });
  Session session(world, *folder, table, run, request);
  try {
    body(session);
    auto const peak_mb = world.max(peak_megabytes());  // of the rank that needed most
    folder->note("end", {{"exit_code", 0}, {"peak_mb", peak_mb}});
  } catch (std::exception const& error) {
    auto const* failure = dynamic_cast<Failure const*>(&error);
    try {
      folder->note("end", {{"exit_code", failure ? static_cast<int>(failure->code) : 1}, {"error", one_line(error)}});
    } catch (Failure const&) {  // a full disk: the first failure is the one to tell
    }
    throw;
  }
}

}  // namespace

void Session::say(std::string const& text) const {
  if (ranks.is_root()) std::fprintf(stderr, "%s: %s\n", table.program().c_str(), text.c_str());
}

Progress Session::progress(std::string const& what, std::int64_t total, std::string const& unit) const {
  return Progress(ranks.is_root(), table.program(), what, total, unit);
}

void Session::require_replaceable(NamedProduct const& product, std::vector<std::filesystem::path> const& inputs,
                                  std::vector<std::filesystem::path> const& kept) const {
  namespace fs = std::filesystem;
  std::error_code missing;
  auto const real = [&](fs::path const& path) { return fs::weakly_canonical(fs::absolute(path), missing); };
  auto const holds = [](fs::path const& outer, fs::path const& path) {
    return std::mismatch(outer.begin(), outer.end(), path.begin(), path.end()).first == outer.end();
  };
  auto const text = product.path.string();
  for (auto const& input : inputs)
    if (holds(real(product.path), real(input)))
      fail(ExitCode::usage, "'{}' would replace '{}', which is read. Name another path to write", text, input.string());
  for (auto const& path : kept)
    if (holds(real(product.path), real(path)))
      fail(ExitCode::usage, "'{}' would replace '{}'. Name another path to write", text, path.string());
  if (holds(real(product.path), real(folder.path())))
    fail(ExitCode::usage, "'{}' would replace the run folder. Name another path to write", text);
  if (fs::exists(product.path, missing)) {
    bool const is_folder = fs::is_directory(product.path, missing);
    if (is_folder != product.is_folder || (!is_folder && !fs::is_regular_file(product.path, missing)))
      fail(ExitCode::usage, "'{}' exists and is no {} that could be replaced. Name another path to write", text,
           product.is_folder ? "folder" : "file");
    if (is_folder)
      for (auto const& entry : fs::directory_iterator(product.path, missing))
        if (auto const name = entry.path().filename().string();
            std::find(product.files.begin(), product.files.end(), name) == product.files.end())
          fail(
              ExitCode::usage,
              "'{}' holds '{}', which would be lost (a model's folder is replaced whole). Name another folder to write",
              text, name);
  }
  std::error_code error;
  auto const parent = fs::absolute(product.path).parent_path();
  if (!dry_run && !only_asks_) fs::create_directories(parent, error);
  if (error)
    fail(ExitCode::cannot_write, "cannot make folder '{}' ({}). Name another path to write", parent.string(),
         error.message());
}

bool Session::is_done(std::vector<std::filesystem::path> const& inputs,
                      std::vector<std::filesystem::path> const& kept) {
  int done = 0;
  ranks.together([&] {
    if (!ranks.is_root()) return;
    for (auto const& product : named_products_) require_replaceable(product, inputs, kept);
    key_ = stage_key(table.fingerprint(), inputs);
    done = !run.again && folder.is_done(key_);
    if (!done && !dry_run && !only_asks_) {
      std::string const level = fmt::format("ranks {}\nthreads {}\n", ranks.size(), run.threads);
      folder.start(table.ini(), build_info() + level);
      folder.note("start", {{"key", key_}, {"ranks", ranks.size()}, {"threads", run.threads}, {"host", host_name()}});
    }
  });
  ranks.broadcast(std::span(&done, 1));
  ranks.broadcast(key_);
  if (only_asks_) throw Asked{done != 0};
  if (done) say(fmt::format("already done in '{}' with these settings and inputs", folder.own().string()));
  return done != 0;
}

void Session::set_done(std::vector<std::filesystem::path> const& products) {
  ranks.barrier();
  ranks.together([&] {
    folder.require_lock();
    folder.set_done(key_, products);
    std::error_code ignored;
    if (ranks.is_root()) std::filesystem::remove_all(folder.own() / "checkpoints", ignored);
  });
}

bool Session::hears_stop() {
  if (ranks.is_root() && since_look_.seconds() > 0.5) {  // the file system is not asked at every step
    since_look_.lap();
    std::error_code missing;
    saw_stop_file_ = std::filesystem::exists(folder.path() / "STOP", missing);
  }
  auto const left = seconds_to_limit();
  return StopSignals::stop_is_asked() || saw_stop_file_ || (left && *left < run.stop_before_seconds);
}

Wish Session::boundary() {
  Wish wish = StopSignals::seen();
  ++steps_since_checkpoint_;
  if (ranks.is_root()) {
    auto const ask = [&](Wish more) { wish = std::max(wish, more); };
    bool const due = run.checkpoint_seconds > 0 && since_checkpoint_.seconds() >= run.checkpoint_seconds;
    if (due || (run.checkpoint_steps > 0 && steps_since_checkpoint_ >= run.checkpoint_steps)) ask(Wish::checkpoint);
    if (hears_stop()) ask(Wish::stop);
    if (folder.has_lost_lock()) ask(Wish::lost);
  }
  wish = static_cast<Wish>(ranks.max(static_cast<int>(wish)));
  if (wish != Wish::go_on) {
    since_checkpoint_.lap();
    steps_since_checkpoint_ = 0;
  }
  return wish;
}

void Session::stop(Wish why, std::string const& at) const {
  Failure stopped(ExitCode::stopped,
                  why == Wish::lost
                      ? fmt::format("the run folder '{}' was taken by another job; stopped at {}, nothing written",
                                    folder.path().string(), at)
                      : fmt::format("stopped at {} as asked; the same command goes on from there", at));
  stopped.agreed = true;
  all_ranks_fail();
  std::error_code ignored;
  if (ranks.is_root()) std::filesystem::remove(folder.path() / "STOP", ignored);
  throw stopped;
}

std::filesystem::path Session::product(std::string const& setting, std::string const& name,
                                       std::vector<std::string> const& files) {
  if (setting.empty()) return folder.path() / name;
  named_products_.push_back({setting, !files.empty(), files});
  return setting;
}

std::filesystem::path Session::input(std::string const& setting, std::string const& name) const {
  auto const own = setting.empty() ? folder.path() / name : std::filesystem::path(setting);
  std::error_code missing;
  bool const is_elsewhere = setting.empty() && !run.base.empty() && !std::filesystem::exists(own, missing);
  return is_elsewhere ? std::filesystem::path(run.base) / name : own;
}

std::filesystem::path Session::input_if_any(std::string const& setting, std::string const& name) const {
  std::error_code missing;
  std::string path;
  if (ranks.is_root()) path = input(setting, name).string();
  if (setting.empty() && !path.empty() && !std::filesystem::exists(path, missing)) path.clear();
  ranks.broadcast(path);
  return path;
}

int run_program(int argc, char** argv, OptionTable& table, std::function<void(Session&)> const& body) {
  StopSignals::listen();
  RunOptions run;
  add_run_options(table, run);
  std::optional<Failure> refused;
  Request request = Request::run;
  try {
    request = table.parse(argc, argv);
  } catch (Failure const& failure) {
    refused = failure;
  }
  if (!refused && request != Request::run && request != Request::dry_run && request != Request::is_done) {
    if (!launched_as_root()) return 0;
    std::fputs((request == Request::help      ? table.help()
                : request == Request::version ? build_info()
                                              : table.ini())
                   .c_str(),
               stdout);
    return 0;
  }

  keep_large_blocks();
  at::set_num_threads(static_cast<int>(std::max<std::int64_t>(1, run.threads)));
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int code = 0;
  {
    Communicator const world = Communicator::world();
    try {
      Watchdog::start(table.program(), world.rank(), world.size(),
                      run.deadline_seconds > 0 ? run.deadline_seconds : RunOptions{}.deadline_seconds);
      world.together([&] {  // one rank alone may have been refused: a settings file that its node does not see
        if (refused) throw *refused;
        if (run.device != "auto" && run.device != "cpu" && run.device != "cuda")
          fail(ExitCode::usage, "run.device is '{}' (it is auto, cpu or cuda)", run.device);
        if (run.threads < 1) fail(ExitCode::usage, "run.threads is {} (it must be at least 1)", run.threads);
        if (!(run.deadline_seconds > 0))
          fail(ExitCode::usage, "run.deadline_seconds is {} (a wait takes time). Give a number above 0",
               run.deadline_seconds);
        run.shards =
            ShardPlan(run.shards, world.rank(), world.size()).shards();  // it decides bits: recorded as what it is
      });
      run_body(table, run, request, world, body);
    } catch (Asked const& answer) {
      code = answer.done ? 0 : 1;
    } catch (std::exception const& error) {
      auto const* failure = dynamic_cast<Failure const*>(&error);
      code = static_cast<int>(failure ? failure->code : ExitCode::failed);
      if (failure && failure->agreed) {
        if (world.is_root())
          speak(table.program(), one_line(error), code, std::max(0, failure->first_rank), world.size(),
                failure->first_host.empty() ? host_name() : failure->first_host);
      } else {  // alone: the others may wait in a collective, so the job ends here
        speak(table.program(), one_line(error), code, world.rank(), world.size(), host_name());
        if (world.size() > 1) MPI_Abort(MPI_COMM_WORLD, code);
      }
    }
  }
  {
    Operation waiting("end of MPI");
    MPI_Finalize();
  }
  Watchdog::stop();
  return code;
}

}  // namespace retort
