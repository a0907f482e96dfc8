#include "retort/run/run_folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "retort/run/error.hpp"
#include "retort/run/hash.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

void append(fs::path const& file, std::string const& text) {
  std::ofstream stream(file, std::ios::app);
  stream << text << std::flush;
  if (!stream) fail(ExitCode::cannot_write, "cannot write '{}' ({}). Free space or choose another run.folder", file.string(), std::strerror(errno));
}

void flush_to_disk(fs::path const& path, int flags) {
  int const descriptor = ::open(path.c_str(), flags);
  if (descriptor < 0) fail(ExitCode::cannot_write, "cannot open '{}' to flush it ({})", path.string(), std::strerror(errno));
  int const flushed = ::fsync(descriptor);
  int const reason = errno;
  ::close(descriptor);
  if (flushed != 0) fail(ExitCode::cannot_write, "cannot flush '{}' to disk ({}). Free space or choose another run.folder", path.string(), std::strerror(reason));
}

}  // namespace

RunFolder::RunFolder(fs::path run, std::string const& verb, bool writes) : run_(std::move(run)), own_(run_ / verb), writes_(writes) {
  if (!writes_) return;
  std::error_code error;
  fs::create_directories(own_, error);
  if (error || ::access(own_.c_str(), W_OK) != 0) {
    fail(ExitCode::cannot_write, "cannot write in the run folder '{}' ({}). Choose another run.folder", own_.string(), error ? error.message() : std::strerror(errno));
  }
}

void RunFolder::start(std::string const& ini, std::string const& build) const {
  if (!writes_) return;
  std::error_code ignored;
  fs::remove(own_ / "DONE", ignored);
  fs::remove(own_ / "steps.tsv", ignored);
  write_text(own_ / "options.ini", ini);
  write_text(own_ / "build.txt", build);
}

void RunFolder::step(std::vector<std::string> const& columns, std::vector<double> const& values) {
  if (!writes_) return;
  std::string text;
  if (!steps_begun_) text = fmt::format("{}\n", fmt::join(columns, "\t"));
  steps_begun_ = true;
  append(own_ / "steps.tsv", text + fmt::format("{}\n", fmt::join(values, "\t")));
}

void RunFolder::note(std::string const& event, nlohmann::json const& fields) const {
  if (!writes_) return;
  nlohmann::json line{{"time", std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count()}, {"event", event}};
  line.update(fields);
  append(own_ / "log.jsonl", line.dump() + "\n");
}

bool RunFolder::is_done(std::string const& key) const {
  std::ifstream stream(own_ / "DONE");
  std::string held;
  return std::getline(stream, held) && held == key;
}

void RunFolder::set_done(std::string const& key) const {
  if (writes_) write_text(own_ / "DONE", key + "\n");
}

std::string stage_key(std::string const& fingerprint, std::vector<fs::path> const& inputs) {
  std::string text = fingerprint;
  auto const describe = [&](fs::path const& file) {
    std::error_code error;
    auto const size = fs::file_size(file, error);
    auto const changed = fs::last_write_time(file, error);
    if (!error) text += fmt::format("{} {} {}\n", file.string(), size, changed.time_since_epoch().count());
  };
  for (auto const& input : inputs) {
    std::error_code error;
    if (!fs::is_directory(input, error)) {
      describe(input);
      continue;
    }
    std::vector<fs::path> files;
    for (auto const& entry : fs::directory_iterator(input, error)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (auto const& file : files) describe(file);
  }
  return hash_text(text);
}

void require_input(fs::path const& path, std::string const& what) {
  std::error_code error;
  if (!fs::exists(path, error)) fail(ExitCode::missing_input, "{} '{}' is missing (no such file or folder). Check the path, or run the stage that makes it", what, path.string());
  if (::access(path.c_str(), R_OK) != 0) fail(ExitCode::missing_input, "{} '{}' cannot be read ({})", what, path.string(), std::strerror(errno));
}

void publish(fs::path const& pending, fs::path const& final) {
  if (!fs::is_directory(pending)) flush_to_disk(pending, O_RDONLY);
  std::error_code error;
  if (fs::is_directory(pending)) {
    for (auto const& entry : fs::directory_iterator(pending)) flush_to_disk(entry.path(), O_RDONLY);
    fs::remove_all(final, error);
  }
  fs::rename(pending, final, error);
  if (error) fail(ExitCode::cannot_write, "cannot rename '{}' to '{}' ({})", pending.string(), final.string(), error.message());
  flush_to_disk(final.has_parent_path() ? final.parent_path() : fs::path("."), O_RDONLY | O_DIRECTORY);
}

void write_text(fs::path const& path, std::string const& text) {
  fs::path const pending = path.string() + ".pending";
  {
    std::ofstream stream(pending);
    stream << text << std::flush;
    if (!stream) fail(ExitCode::cannot_write, "cannot write '{}' ({}). Free space or choose another run.folder", pending.string(), std::strerror(errno));
  }
  publish(pending, path);
}

}  // namespace retort
