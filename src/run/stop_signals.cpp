#include "retort/run/stop_signals.hpp"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>

#include "retort/run/error.hpp"

namespace retort {
namespace {

volatile std::sig_atomic_t checkpoint_asked = 0, stop_asked = 0, has_boundaries = 0;

extern "C" void on_signal(int signal) {
  if (signal == SIGUSR1) {
    checkpoint_asked = 1;
  } else if (!has_boundaries) {
    ::_exit(static_cast<int>(ExitCode::stopped));
  } else if (stop_asked) {
    ::_exit(static_cast<int>(ExitCode::failed));
  } else {
    stop_asked = 1;
  }
}

}  // namespace

void StopSignals::listen() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (int const signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) sigaction(signal, &action, nullptr);
}

void StopSignals::wait_for_boundaries() { has_boundaries = 1; }

Wish StopSignals::seen() {
  if (stop_asked) return Wish::stop;
  if (!checkpoint_asked) return Wish::go_on;
  checkpoint_asked = 0;
  return Wish::checkpoint;
}

bool StopSignals::stop_is_asked() { return stop_asked; }

std::optional<double> seconds_to_limit() {
  for (char const* name : {"RETORT_END_TIME", "SLURM_JOB_END_TIME"}) {
    char const* const text = std::getenv(name);
    if (!text) continue;
    char* end = nullptr;
    double const at = std::strtod(text, &end);
    if (end == text || *end) continue;
    return at - std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  return std::nullopt;
}

}  // namespace retort
