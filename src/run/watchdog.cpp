#include "retort/run/watchdog.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "retort/run/error.hpp"

namespace retort {
namespace {

struct Waiting {
  char const* operation = nullptr;
  std::int64_t began_ms = 0;
};
std::mutex waiting_mutex;  // name and time belong together: read apart, an operation that just ended seems to have
                           // begun at boot
Waiting waiting;
std::atomic<long> current_step{-1};

Waiting exchange_waiting(Waiting next) {
  std::lock_guard const lock(waiting_mutex);
  return std::exchange(waiting, next);
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Guard {
  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;
  std::thread thread;
};
std::optional<Guard> guard;

void watch(std::string const& program, int rank, int ranks, double deadline_seconds) {
  std::unique_lock lock(guard->mutex);
  while (!guard->wake.wait_for(lock, std::chrono::milliseconds(250), [] { return guard->stopping; })) {
    auto const [operation, began_ms] = [] {
      std::lock_guard const reading(waiting_mutex);
      return waiting;
    }();
    double const lasted = static_cast<double>(now_ms() - began_ms) / 1000;
    if (!operation || lasted < deadline_seconds) continue;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    std::string const step = current_step >= 0 ? fmt::format(", step {}", current_step.load()) : "";
    std::string const line = fmt::format(
        "{}: error: '{}' has lasted {:.0f} s (another rank is dead, stopped or very slow). Look at its last line; "
        "run.deadline_seconds sets the limit [rank {} of {}, host {}{}]\n",
        program, operation, lasted, rank, ranks, host, step);
    [[maybe_unused]] auto const written = ::write(STDERR_FILENO, line.data(), line.size());
    ::_exit(static_cast<int>(ExitCode::watchdog));
  }
}

}  // namespace

void Watchdog::start(std::string program, int rank, int ranks, double deadline_seconds) {
  guard.emplace();
  guard->thread = std::thread(watch, std::move(program), rank, ranks, deadline_seconds);
}

void Watchdog::stop() {
  if (!guard) return;
  {
    std::lock_guard lock(guard->mutex);
    guard->stopping = true;
  }
  guard->wake.notify_one();
  guard->thread.join();
  guard.reset();
}

void Watchdog::set_step(long step) { current_step = step; }
long Watchdog::step() { return current_step; }

Operation::Operation(char const* name) {
  Waiting const outer = exchange_waiting({name, now_ms()});
  outer_ = outer.operation;
  outer_began_ms_ = outer.began_ms;
}
Operation::~Operation() { exchange_waiting({outer_, outer_began_ms_}); }

}  // namespace retort
