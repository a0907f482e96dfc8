#include "retort/run/run_folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
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
  if (!stream)
    fail(ExitCode::cannot_write, "cannot write '{}' ({}). Free space or choose another run.folder", file.string(),
         std::strerror(errno));
}

void flush_to_disk(fs::path const& path, int flags) {
  int const descriptor = ::open(path.c_str(), flags);
  if (descriptor < 0)
    fail(ExitCode::cannot_write, "cannot open '{}' to flush it ({})", path.string(), std::strerror(errno));
  int const flushed = ::fsync(descriptor);
  int const reason = errno;
  ::close(descriptor);
  if (flushed != 0)
    fail(ExitCode::cannot_write, "cannot flush '{}' to disk ({}). Free space or choose another run.folder",
         path.string(), std::strerror(reason));
}

// Folders replaced by the files in them, in the order of their names.
std::vector<fs::path> files_of(std::vector<fs::path> const& paths) {
  std::vector<fs::path> files;
  for (auto const& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      files.push_back(path);
      continue;
    }
    auto const first = files.size();
    for (auto const& entry : fs::directory_iterator(path, error)) files.push_back(entry.path());
    std::sort(files.begin() + static_cast<std::ptrdiff_t>(first), files.end());
  }
  return files;
}

// "NAME<tab>bytes time of change", or that it is not there.
std::string state_of(fs::path const& name, fs::path const& file) {
  std::error_code error;
  auto const size = fs::file_size(file, error);
  if (error) return name.string() + "\tmissing";
  return fmt::format("{}\t{} {}", name.string(), size, fs::last_write_time(file, error).time_since_epoch().count());
}

}  // namespace

RunFolder::RunFolder(fs::path run, std::string const& verb, bool writes)
    : run_(std::move(run)), own_(run_ / verb), writes_(writes) {
  if (!writes_) return;
  std::error_code error;
  fs::create_directories(own_, error);
  if (error || ::access(own_.c_str(), W_OK) != 0) {
    fail(ExitCode::cannot_write, "cannot write in the run folder '{}' ({}). Choose another run.folder", own_.string(),
         error ? error.message() : std::strerror(errno));
  }
  lock_ = std::make_unique<RunLock>(run_, "retort-" + verb);
}

void RunFolder::start(std::string const& ini, std::string const& build) const {
  if (!writes_) return;
  std::error_code ignored;
  fs::remove(own_ / "DONE", ignored);
  write_text(own_ / "options.ini", ini);
  write_text(own_ / "build.txt", build);
}

void RunFolder::step(std::vector<std::string> const& columns, std::vector<double> const& values) {
  if (!writes_) return;
  std::string text;
  if (!steps_begun_) {
    text = fmt::format("{}\n", fmt::join(columns, "\t"));
    std::error_code ignored;
    fs::remove(own_ / "steps.tsv", ignored);
  }
  steps_begun_ = true;
  append(own_ / "steps.tsv", text + fmt::format("{}\n", fmt::join(values, "\t")));
}

std::uint64_t RunFolder::steps_bytes() const {
  std::error_code missing;
  auto const bytes = fs::file_size(own_ / "steps.tsv", missing);
  return missing ? 0 : bytes;
}

void RunFolder::rewind_steps(std::uint64_t bytes) {
  if (!writes_) return;
  std::error_code error;
  auto const kept = std::min(bytes, steps_bytes());
  if (kept == 0)
    fs::remove(own_ / "steps.tsv", error);
  else
    fs::resize_file(own_ / "steps.tsv", kept, error);
  if (error) fail(ExitCode::cannot_write, "cannot write '{}' ({})", (own_ / "steps.tsv").string(), error.message());
  steps_begun_ = kept > 0;
}

void RunFolder::require_lock() const {
  if (lock_) lock_->require_held();
}

void RunFolder::note(std::string const& event, nlohmann::json const& fields) const {
  if (!writes_) return;
  nlohmann::json line{
      {"time", std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count()},
      {"event", event}};
  line.update(fields);
  append(own_ / "log.jsonl", json_text(line) + "\n");
}

bool RunFolder::is_done(std::string const& key) const {
  std::ifstream stream(own_ / "DONE");
  std::string line;
  if (!std::getline(stream, line) || line != key) return false;
  while (std::getline(stream, line)) {
    fs::path const product = line.substr(0, line.find('\t'));
    if (line != state_of(product, own_ / product)) return false;
  }
  return true;
}

void RunFolder::set_done(std::string const& key, std::vector<fs::path> const& products) const {
  if (!writes_) return;
  std::string text = key + "\n";
  for (auto const& file : files_of(products))
    text += state_of(fs::absolute(file).lexically_proximate(fs::absolute(own_)), file) + "\n";
  write_text(own_ / "DONE", text);
}

std::string json_text(nlohmann::json const& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string stage_key(std::string const& fingerprint, std::vector<fs::path> const& inputs) {
  std::string text = fingerprint;
  for (auto const& file : files_of(inputs)) text += state_of(file, file) + "\n";
  return hash_text(text);
}

void require_input(fs::path const& path, std::string const& what) {
  std::error_code error;
  if (!fs::exists(path, error))
    fail(ExitCode::missing_input,
         "{} '{}' is missing (no such file or folder). Check the path, or run the stage that makes it", what,
         path.string());
  if (::access(path.c_str(), R_OK) != 0)
    fail(ExitCode::missing_input, "{} '{}' cannot be read ({})", what, path.string(), std::strerror(errno));
}

void flush_file(fs::path const& file) { flush_to_disk(file, O_RDONLY); }
void flush_folder(fs::path const& folder) {
  flush_to_disk(folder.empty() ? fs::path(".") : folder, O_RDONLY | O_DIRECTORY);
}

void publish(fs::path const& pending, fs::path const& final) {
  std::error_code error;
  if (fs::is_directory(pending)) {
    for (auto const& entry : fs::directory_iterator(pending)) flush_file(entry.path());
    flush_folder(pending);
    fs::remove_all(final, error);
  } else {
    flush_file(pending);
  }
  fs::rename(pending, final, error);
  if (error)
    fail(ExitCode::cannot_write, "cannot rename '{}' to '{}' ({})", pending.string(), final.string(), error.message());
  flush_folder(final.parent_path());
}

void write_text(fs::path const& path, std::string const& text) {
  fs::path const pending = path.string() + ".pending";
  {
    std::ofstream stream(pending);
    stream << text << std::flush;
    if (!stream)
      fail(ExitCode::cannot_write, "cannot write '{}' ({}). Free space or choose another run.folder", pending.string(),
           std::strerror(errno));
  }
  publish(pending, path);
}

}  // namespace retort
