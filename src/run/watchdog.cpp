#include "retort/run/watchdog.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "retort/run/error.hpp"

namespace retort {
namespace {

std::atomic<char const*> current_operation{nullptr};
std::atomic<std::int64_t> operation_began_ms{0};
std::atomic<long> current_step{-1};

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
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
    char const* const operation = current_operation.load();
    double const lasted = static_cast<double>(now_ms() - operation_began_ms.load()) / 1000;
    if (!operation || lasted < deadline_seconds) continue;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    std::string const step = current_step >= 0 ? fmt::format(", step {}", current_step.load()) : "";
    std::string const line = fmt::format("{}: error: '{}' has lasted {:.0f} s (another rank is dead, stopped or very slow). Look at its last line; run.deadline_seconds sets the limit [rank {} of {}, host {}{}]\n",
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

Operation::Operation(char const* name) : outer_(current_operation), outer_began_ms_(operation_began_ms) {
  operation_began_ms = now_ms();
  current_operation = name;
}
Operation::~Operation() {
  operation_began_ms = outer_began_ms_;
  current_operation = outer_;
}

}  // namespace retort
