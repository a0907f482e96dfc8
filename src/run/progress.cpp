#include "retort/run/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace retort {
namespace {

constexpr double seconds_between_lines = 5, seconds_between_bars = 0.1;

std::string duration(double seconds) {
  auto const whole = static_cast<long>(seconds + 0.5);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
}

}  // namespace

Progress::Progress(bool speaks, std::string program, std::string what, std::int64_t total, std::string unit)
    : speaks_(speaks),
      on_terminal_(isatty(STDERR_FILENO) != 0),
      program_(std::move(program)),
      what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      begin_(std::chrono::steady_clock::now()),
      last_(begin_) {}

Progress::~Progress() {
  if (printed_ && !finished_ && on_terminal_) std::fputc('\n', stderr);
}

void Progress::update(std::int64_t done, std::string const& remark) {
  done_ = done;
  if (!speaks_) return;
  auto const now = std::chrono::steady_clock::now();
  double const since = std::chrono::duration<double>(now - last_).count();
  if (since < (on_terminal_ ? seconds_between_bars : seconds_between_lines)) return;
  last_ = now;
  print(done, remark, false);
}

void Progress::finish() {
  if (speaks_ && !finished_) print(done_, "", true);
  finished_ = true;
}

void Progress::print(std::int64_t done, std::string const& remark, bool last) {
  printed_ = true;
  double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  double const rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  double const share = total_ > 0 ? static_cast<double>(done) / static_cast<double>(total_) : 1;
  std::string text = fmt::format("{}: {}", program_, what_);
  if (on_terminal_) {
    auto const filled = static_cast<std::size_t>(share * 20);
    text += " [" + std::string(filled, '#') + std::string(20 - std::min<std::size_t>(filled, 20), ' ') + "]";
  }
  text += fmt::format(" {}/{} {}, {} {}/s", with_commas(done), with_commas(total_), unit_,
                      with_commas(static_cast<std::int64_t>(rate)), unit_);
  if (last)
    text += ", took " + duration(seconds);
  else if (rate > 0)
    text += ", " + duration(static_cast<double>(total_ - done) / rate) + " left";
  if (!remark.empty()) text += ", " + remark;
  if (on_terminal_)
    std::fprintf(stderr, "\r\033[K%s%s", text.c_str(), last ? "\n" : "");
  else
    std::fprintf(stderr, "%s\n", text.c_str());
  std::fflush(stderr);
}

std::string with_commas(std::int64_t count) {
  std::string text = std::to_string(count < 0 ? -count : count);
  for (std::size_t place = text.size(); place > 3; place -= 3) text.insert(place - 3, 1, ',');
  return count < 0 ? "-" + text : text;
}

}  // namespace retort
