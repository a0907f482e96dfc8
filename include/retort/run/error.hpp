// Failures of users and machines: one sentence and the exit code of the job.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>
#include <string>

namespace retort {

// The promise to Slurm and to scripts (design: stopping and failing).
enum class ExitCode : int {
  ok = 0,
  failed = 1,
  usage = 2,
  bad_input = 65,
  missing_input = 66,
  cannot_write = 73,
  stopped = 75,  // to be continued: requeue
  watchdog = 124,
};

// Grammar of the text: `problem (why it is one). Suggestion`, the problem in lower case, values quoted, one line.
class Failure : public std::runtime_error {
 public:
  Failure(ExitCode exit_code, std::string const& text) : std::runtime_error(text), code(exit_code) {}

  ExitCode code;
  bool agreed = false;  // every rank throws this same failure, so all may finalise
  int first_rank = -1;  // where it happened first, once agreed
  std::string first_host;
};

// Throws a Failure: fail(ExitCode::bad_input, "'{}' has no column '{}'", file, column).
template <class... Values>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Values...> text, Values&&... values) {
  throw Failure(code, fmt::format(text, std::forward<Values>(values)...));
}

}  // namespace retort
