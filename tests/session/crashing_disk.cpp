#include "crashing_disk.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <vector>

#include "retort/run/index.hpp"

namespace fs = std::filesystem;

namespace {

// What is not yet safe: an entry of a folder, and how to take it back.
struct Entry {
  std::string folder;
  std::function<void()> undo;
};

std::string watched;
int operations_done = 0, crash_at = 0, backups = 0;
bool inside = false;                        // the disk's own work is not watched
std::map<std::string, off_t> unsafe_bytes;  // files with bytes that were not flushed, and how many were
std::vector<Entry> unsafe_entries;

template <class Function>
Function real(char const* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

bool is_watched(std::string const& path) { return !inside && !watched.empty() && path.starts_with(watched); }
std::string absolute(char const* path) { return fs::absolute(path).lexically_normal().string(); }
std::string parent(std::string const& path) { return fs::path(path).parent_path().string(); }
std::string path_of(int descriptor) {
  char path[4096];
  auto const length = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path, sizeof path);
  return length > 0 ? std::string(path, retort::index(length)) : "";
}

void crash() {
  inside = true;
  for (auto const& [path, flushed] : unsafe_bytes) static_cast<void>(::truncate(path.c_str(), flushed));
  for (auto entry = unsafe_entries.rbegin(); entry != unsafe_entries.rend(); ++entry) entry->undo();
  ::_exit(9);
}

void next_operation() {
  if (++operations_done == crash_at) crash();
}

void made_entry(std::string const& path) {
  unsafe_entries.push_back({parent(path), [path] { fs::remove_all(path); }});
}

}  // namespace

namespace retort {
void CrashingDisk::watch(std::string const& folder, int at) {
  watched = folder;
  crash_at = at;
  operations_done = 0;
}
int CrashingDisk::operations() { return operations_done; }
}  // namespace retort

extern "C" {

int mkdir(char const* path, mode_t mode) {
  auto const name = absolute(path);
  bool const mine = is_watched(name);
  if (mine) next_operation();
  int const done = real<int (*)(char const*, mode_t)>("mkdir")(path, mode);
  if (mine && done == 0) made_entry(name);
  return done;
}

FILE* fopen64(char const* path, char const* mode) {
  auto const name = absolute(path);
  bool const mine = is_watched(name) && *mode != 'r';
  struct stat before {};
  bool const is_new = mine && ::stat(path, &before) != 0;
  if (mine) next_operation();
  FILE* const stream = real<FILE* (*)(char const*, char const*)>("fopen64")(path, mode);
  if (mine && stream) {
    unsafe_bytes[name] = 0;
    if (is_new) made_entry(name);
  }
  return stream;
}
FILE* fopen(char const* path, char const* mode) { return fopen64(path, mode); }

ssize_t write(int descriptor, void const* bytes, size_t count) {
  if (!watched.empty() && !inside) {
    auto const name = path_of(descriptor);
    if (is_watched(name)) {
      next_operation();
      struct stat now {};
      ::fstat(descriptor, &now);
      unsafe_bytes.try_emplace(name, now.st_size);
    }
  }
  return real<ssize_t (*)(int, void const*, size_t)>("write")(descriptor, bytes, count);
}

int fsync(int descriptor) {
  auto const name = path_of(descriptor);
  bool const mine = is_watched(name);
  if (mine) next_operation();
  int const done = real<int (*)(int)>("fsync")(descriptor);
  if (mine && done == 0) {
    unsafe_bytes.erase(name);
    std::erase_if(unsafe_entries, [&](Entry const& entry) { return entry.folder == name; });
  }
  return done;
}

int rename(char const* from, char const* to) {
  auto const old_name = absolute(from), new_name = absolute(to);
  bool const mine = is_watched(new_name);
  std::string backup;
  if (mine) {
    next_operation();
    if (fs::is_regular_file(new_name)) {
      backup = watched + ".old" + std::to_string(++backups);
      inside = true;
      fs::create_hard_link(new_name, backup);
      inside = false;
    }
  }
  int const done = real<int (*)(char const*, char const*)>("rename")(from, to);
  if (mine && done == 0) {
    std::map<std::string, off_t> moved;  // bytes keep their state under the new name
    for (auto const& [path, flushed] : unsafe_bytes)
      moved[path.starts_with(old_name) ? new_name + path.substr(old_name.size()) : path] = flushed;
    unsafe_bytes = moved;
    unsafe_entries.push_back({parent(new_name), [=] {
                                fs::rename(new_name, old_name);
                                if (!backup.empty()) fs::rename(backup, new_name);
                              }});
  }
  return done;
}

// A deletion counts as an operation and is never taken back: losing more is the harder case.
int unlinkat(int folder, char const* path, int flags) {
  if (is_watched(*path == '/' ? absolute(path) : path_of(folder))) next_operation();
  return real<int (*)(int, char const*, int)>("unlinkat")(folder, path, flags);
}

}  // extern "C"
