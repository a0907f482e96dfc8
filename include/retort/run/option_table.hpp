// One table of settings that feeds the struct, --help, the INI file and the echo.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace retort {

// What the command line asked for besides settings.
enum class Request { run, help, version, print_config, dry_run, is_done };

// Settings are named `section.key`; a section is defined by one function, so that programs which share it agree.
// Precedence: command line, then --config FILE (INI), then the value that the variable held when it was added.
class OptionTable {
 public:
  // `sections` are those of all programs: parse() skips the ones that this program does not declare.
  OptionTable(std::string program, std::string purpose, std::vector<std::string> sections = {});
  ~OptionTable();

  // Types: bool, std::int64_t, double, std::string, and std::vector of std::string, std::int64_t or double (commas).
  template <class Value>
  OptionTable& add(std::string const& name, Value& value, std::string const& help);

  // Of this program: a setting, perhaps one that is added later, that its results do not depend on.
  OptionTable& without_effect(std::string const& name);

  // Throws Failure(usage) that names the unknown key and the nearest known one. Sections of other programs in --config
  // are skipped, so that one file serves a whole pipeline; a section of no program is an unknown key.
  Request parse(int argc, char const* const* argv);

  std::string help() const;
  // The resolved settings as a commented INI.
  std::string ini() const;
  // The resolved settings that decide results, one a line: all but those of the run section that say where and how
  // long, and those without effect here.
  std::string fingerprint() const;
  std::string const& program() const { return program_; }

 private:
  struct Entry {
    std::string name, help;
    std::function<void(std::string const&)> assign;
    std::function<std::string()> print;
    bool is_switch = false;
  };
  Entry* find(std::string const& name);
  [[noreturn]] void refuse_unknown(std::string const& name, std::string const& where) const;

  std::string program_, purpose_;
  std::vector<std::string> sections_;
  std::vector<Entry> entries_;
  std::vector<std::string> without_effect_;
};

// "2GB", "512 MiB" or plain bytes. Throws Failure(usage) with the setting's name.
std::int64_t parse_bytes(std::string const& text, std::string const& setting);

}  // namespace retort
