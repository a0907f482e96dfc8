#include "retort/run/run_lock.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "retort/run/error.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

constexpr auto heartbeat = std::chrono::seconds(5);
constexpr int polls_until_stale = 30;  // a second each: six missed heartbeats

std::string environment(char const* name) {
  char const* const value = std::getenv(name);
  return value ? value : "";
}

std::string this_host() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return host;
}

std::string new_token() {
  std::random_device source;
  return fmt::format("{:08x}{:08x}", source(), source());
}

nlohmann::json read_lock(fs::path const& file) {
  std::ifstream stream(file);
  std::ostringstream text;
  text << stream.rdbuf();
  return nlohmann::json::parse(text.str(), nullptr, false);
}

// The time of change as the file system holds it now: opening the file makes NFS ask its server.
timespec changed(fs::path const& file) {
  struct stat status {};
  int const descriptor = ::open(file.c_str(), O_RDONLY);
  if (descriptor < 0) return {};
  ::fstat(descriptor, &status);
  ::close(descriptor);
  return status.st_mtim;
}

std::string text_of(nlohmann::json const& lock, char const* field) {
  return lock.is_object() && lock.contains(field) && lock[field].is_string() ? lock[field].get<std::string>() : "";
}

// When a process of this host started, in the kernel's ticks; empty where it is gone or only waits to be buried. Beside
// its number it names a process: numbers are used again.
std::string start_of(pid_t process) {
  std::ifstream stream(fmt::format("/proc/{}/stat", process));
  std::string text, field;
  std::getline(stream, text);
  auto const name_end = text.rfind(')');
  if (name_end == std::string::npos) return "";
  std::istringstream fields(text.substr(name_end + 1));
  constexpr int state = 3, start = 22;  // proc(5); the third is the first after the name
  for (int i = state; i <= start && fields >> field; ++i)
    if (i == state && (field == "Z" || field == "X")) return "";
  return field;
}

// Whether the holder cannot be alive, as far as can be known without waiting.
bool is_surely_dead(nlohmann::json const& lock) {
  std::string const job = text_of(lock, "job"), restart = text_of(lock, "restart");
  if (!job.empty() && job == environment("SLURM_JOB_ID") && restart != environment("SLURM_RESTART_COUNT")) return true;
  if (text_of(lock, "host") != this_host() || !lock.contains("process") || !lock["process"].is_number_integer())
    return false;
  return start_of(lock["process"].get<pid_t>()) != text_of(lock, "started");
}

// Creates the file with `text`, whole at its first sight; false when it is there already.
bool create_whole(fs::path const& file, std::string const& token, std::string const& text, bool replace) {
  fs::path const pending = file.string() + "." + token;
  {
    std::ofstream stream(pending);
    stream << text << std::flush;
    if (!stream)
      fail(ExitCode::cannot_write, "cannot write '{}' ({}). Free space or choose another run.folder", pending.string(),
           std::strerror(errno));
  }
  int const done = replace ? ::rename(pending.c_str(), file.c_str()) : ::link(pending.c_str(), file.c_str());
  int const reason = errno;
  std::error_code ignored;
  if (!replace) fs::remove(pending, ignored);
  if (done == 0) return true;
  if (reason == EEXIST) return false;
  fail(ExitCode::cannot_write, "cannot make '{}' ({}). Choose another run.folder", file.string(),
       std::strerror(reason));
}

}  // namespace

RunLock::RunLock(fs::path const& run, std::string const& program) : file_(run / "LOCK"), token_(new_token()) {
  std::string const text = nlohmann::json{{"token", token_},
                                          {"program", program},
                                          {"host", this_host()},
                                          {"process", ::getpid()},
                                          {"started", start_of(::getpid())},
                                          {"job", environment("SLURM_JOB_ID")},
                                          {"restart", environment("SLURM_RESTART_COUNT")}}
                               .dump() +
                           "\n";
  if (!create_whole(file_, token_, text, false)) {
    auto const holder = read_lock(file_);
    timespec const first = changed(file_);
    bool dead = is_surely_dead(holder);
    for (int poll = 0; poll < polls_until_stale && !dead; ++poll) {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      timespec const now = changed(file_);
      if (now.tv_sec == 0 && now.tv_nsec == 0) break;  // given back meanwhile
      if (now.tv_sec != first.tv_sec || now.tv_nsec != first.tv_nsec || read_lock(file_) != holder) {
        std::string const job = text_of(holder, "job");
        fail(ExitCode::cannot_write,
             "run folder '{}' is in use by {} on host {}{} (one writer per folder). Wait for it, or choose another "
             "run.folder",
             run.string(), text_of(holder, "program"), text_of(holder, "host"), job.empty() ? "" : ", job " + job);
      }
    }
    create_whole(file_, token_, text, true);
    std::this_thread::sleep_for(
        std::chrono::milliseconds(200));  // of two that take over at once, the later rename wins
    if (!file_is_mine())
      fail(ExitCode::cannot_write,
           "run folder '{}' was taken by another job just now (one writer per folder). Choose another run.folder",
           run.string());
  }
  heart_ = std::thread([this] { beat(); });
}

RunLock::~RunLock() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  heart_.join();
  std::error_code ignored;
  if (file_is_mine()) fs::remove(file_, ignored);
}

bool RunLock::file_is_mine() const { return text_of(read_lock(file_), "token") == token_; }

void RunLock::beat() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, heartbeat, [this] { return stopping_; })) {
    if (!file_is_mine()) {
      lost_ = true;
      return;
    }
    ::utimensat(AT_FDCWD, file_.c_str(), nullptr, 0);
  }
}

void RunLock::require_held() const {
  if (lost_ || !file_is_mine())
    fail(ExitCode::stopped,
         "the run folder was taken by another job ('{}' is no longer this one's). Nothing more is written",
         file_.string());
}

}  // namespace retort
