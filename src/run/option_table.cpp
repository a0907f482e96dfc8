#include "retort/run/option_table.hpp"

#include <boost/program_options.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>

#include "retort/run/error.hpp"

namespace po = boost::program_options;

namespace retort {
namespace {

// Settings that say only where and how long, so a finished stage stays finished when they change.
constexpr std::array settings_without_effect{"run.folder",
                                             "run.base",
                                             "run.deadline_seconds",
                                             "run.again",
                                             "run.checkpoint_seconds",
                                             "run.checkpoint_steps",
                                             "run.keep_checkpoints",
                                             "run.stop_before_seconds"};

std::string section_of(std::string const& name) { return name.substr(0, name.find('.')); }

std::size_t edit_distance(std::string const& a, std::string const& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t const above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row.back();
}

template <class Number>
Number parse_number(std::string const& text, std::string const& setting, char const* kind) {
  Number value{};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    fail(ExitCode::usage, "'{}' is not a value of '{}' ({} is needed)", text, setting, kind);
  }
  return value;
}

std::vector<std::string> split_list(std::string const& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

void assign(std::string const& text, std::string const&, std::string& value) { value = text; }
void assign(std::string const& text, std::string const& name, std::int64_t& value) {
  value = parse_number<std::int64_t>(text, name, "a whole number");
}
void assign(std::string const& text, std::string const& name, double& value) {
  value = parse_number<double>(text, name, "a number");
}
void assign(std::string const& text, std::string const& name, bool& value) {
  if (text == "true" || text == "1" || text == "yes" || text == "on" || text.empty())
    value = true;
  else if (text == "false" || text == "0" || text == "no" || text == "off")
    value = false;
  else
    fail(ExitCode::usage, "'{}' is not a value of '{}' (true or false is needed)", text, name);
}
void assign(std::string const& text, std::string const&, std::vector<std::string>& value) { value = split_list(text); }
void assign(std::string const& text, std::string const& name, std::vector<std::int64_t>& value) {
  value.clear();
  for (auto const& part : split_list(text))
    value.push_back(parse_number<std::int64_t>(part, name, "a list of whole numbers"));
}
void assign(std::string const& text, std::string const& name, std::vector<double>& value) {
  value.clear();
  for (auto const& part : split_list(text)) value.push_back(parse_number<double>(part, name, "a list of numbers"));
}

std::string print(std::string const& value) { return value; }
std::string print(std::int64_t value) { return std::to_string(value); }
std::string print(double value) { return fmt::format("{}", value); }
std::string print(bool value) { return value ? "true" : "false"; }
std::string print(std::vector<std::string> const& value) { return fmt::format("{}", fmt::join(value, ",")); }
std::string print(std::vector<std::int64_t> const& value) { return fmt::format("{}", fmt::join(value, ",")); }
std::string print(std::vector<double> const& value) { return fmt::format("{}", fmt::join(value, ",")); }

}  // namespace

OptionTable::OptionTable(std::string program, std::string purpose, std::vector<std::string> sections)
    : program_(std::move(program)), purpose_(std::move(purpose)), sections_(std::move(sections)) {}
OptionTable::~OptionTable() = default;

OptionTable::Entry* OptionTable::find(std::string const& name) {
  auto const it =
      std::find_if(entries_.begin(), entries_.end(), [&](Entry const& entry) { return entry.name == name; });
  return it == entries_.end() ? nullptr : &*it;
}

template <class Value>
OptionTable& OptionTable::add(std::string const& name, Value& value, std::string const& help) {
  Entry& entry = entries_.emplace_back(Entry{name, help, {}, {}, false});
  entry.assign = [&value, name](std::string const& text) { retort::assign(text, name, value); };
  entry.print = [&value] { return retort::print(value); };
  entry.is_switch = std::is_same_v<Value, bool>;
  return *this;
}
template OptionTable& OptionTable::add(std::string const&, bool&, std::string const&);
template OptionTable& OptionTable::add(std::string const&, std::int64_t&, std::string const&);
template OptionTable& OptionTable::add(std::string const&, double&, std::string const&);
template OptionTable& OptionTable::add(std::string const&, std::string&, std::string const&);
template OptionTable& OptionTable::add(std::string const&, std::vector<std::string>&, std::string const&);
template OptionTable& OptionTable::add(std::string const&, std::vector<std::int64_t>&, std::string const&);
template OptionTable& OptionTable::add(std::string const&, std::vector<double>&, std::string const&);

OptionTable& OptionTable::without_effect(std::string const& name) {
  without_effect_.push_back(name);
  return *this;
}

void OptionTable::refuse_unknown(std::string const& name, std::string const& where) const {
  std::string nearest;
  std::size_t least = name.size() / 2 + 2;
  for (Entry const& entry : entries_) {
    if (auto const distance = edit_distance(name, entry.name); distance < least) least = distance, nearest = entry.name;
  }
  fail(ExitCode::usage, "unknown setting '{}' {}. {}", name, where,
       nearest.empty() ? "See --help for those there are" : "Did you mean '" + nearest + "'?");
}

Request OptionTable::parse(int argc, char const* const* argv) {
  po::options_description description;
  description.add_options()("help", "")("version", "")("print-config", "")("dry-run", "")("is-done", "")(
      "config", po::value<std::vector<std::string>>());
  for (Entry const& entry : entries_) {
    auto* value = po::value<std::vector<std::string>>();
    if (entry.is_switch) value->implicit_value({"true"}, "true");
    description.add_options()(entry.name.c_str(), value);
  }
  po::variables_map from_command;
  try {
    namespace style = po::command_line_style;
    auto parsed = po::command_line_parser(argc, argv)
                      .options(description)
                      .allow_unregistered()
                      .style(style::unix_style & ~style::allow_guessing & ~style::allow_short)
                      .run();
    for (auto const& option : parsed.options) {
      if (option.position_key >= 0)
        fail(ExitCode::usage, "unexpected argument '{}' (settings are --section.key VALUE)",
             option.value.empty() ? "" : option.value[0]);
      if (option.unregistered) refuse_unknown(option.string_key, "on the command line");
    }
    po::store(parsed, from_command);
  } catch (po::error const& error) {
    fail(ExitCode::usage, "{}. See --help", error.what());
  }

  if (from_command.count("config")) {
    for (auto const& file : from_command["config"].as<std::vector<std::string>>()) {
      std::ifstream stream(file);
      if (!stream)
        fail(ExitCode::missing_input, "cannot read the settings '{}' (no such file, or no permission). Check --config",
             file);
      try {
        po::options_description none;
        for (auto const& option : po::parse_config_file(stream, none, true).options) {
          std::string const section = section_of(option.string_key);
          bool const is_ours = std::any_of(entries_.begin(), entries_.end(),
                                           [&](Entry const& known) { return section_of(known.name) == section; });
          bool const is_anothers =
              !is_ours && std::find(sections_.begin(), sections_.end(), section) != sections_.end();
          if (Entry* entry = find(option.string_key))
            entry->assign(option.value.at(0));
          else if (!is_anothers)
            refuse_unknown(option.string_key, "in '" + file + "'");
        }
      } catch (po::error const& error) {
        fail(ExitCode::usage, "{} (in '{}')", error.what(), file);
      }
    }
  }
  for (Entry& entry : entries_) {
    if (from_command.count(entry.name)) entry.assign(from_command[entry.name].as<std::vector<std::string>>().back());
  }
  if (from_command.count("help")) return Request::help;
  if (from_command.count("version")) return Request::version;
  if (from_command.count("print-config")) return Request::print_config;
  if (from_command.count("is-done")) return Request::is_done;
  return from_command.count("dry-run") ? Request::dry_run : Request::run;
}

std::string OptionTable::help() const {
  std::string text = fmt::format(
      "{}: {}\n\n"
      "usage: {} [--config FILE.ini] [--section.key VALUE]...\n"
      "       {} --help | --version | --print-config | --dry-run | --is-done\n",
      program_, purpose_, program_, program_);
  std::string section;
  for (Entry const& entry : entries_) {
    if (section_of(entry.name) != section) text += fmt::format("\n[{}]\n", section = section_of(entry.name));
    text += fmt::format("  --{:<34} {} (now: {})\n", entry.name, entry.help,
                        entry.print().empty() ? "empty" : entry.print());
  }
  return text;
}

std::string OptionTable::ini() const {
  std::string text = fmt::format("# {}: {}\n", program_, purpose_);
  std::string section;
  for (Entry const& entry : entries_) {
    if (section_of(entry.name) != section) text += fmt::format("\n[{}]\n", section = section_of(entry.name));
    text += fmt::format("# {}\n{} = {}\n", entry.help, entry.name.substr(section.size() + 1), entry.print());
  }
  return text;
}

std::string OptionTable::fingerprint() const {
  std::string text = program_ + "\n";
  for (Entry const& entry : entries_) {
    auto const is_among = [&](auto const& names) {
      return std::find(names.begin(), names.end(), entry.name) != names.end();
    };
    bool const has_effect = !is_among(settings_without_effect) && !is_among(without_effect_);
    if (has_effect) text += fmt::format("{}={}\n", entry.name, entry.print());
  }
  return text;
}

std::int64_t parse_bytes(std::string const& text, std::string const& setting) {
  std::size_t digits = 0;
  while (digits < text.size() && (std::isdigit(static_cast<unsigned char>(text[digits])) || text[digits] == '.'))
    ++digits;
  double const number = digits ? parse_number<double>(text.substr(0, digits), setting, "a size such as 2GB") : -1;
  std::string unit;
  for (char letter : text.substr(digits)) {
    if (letter != ' ') unit += static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  }
  static std::map<std::string, double> const units{{"", 1},         {"B", 1},           {"KB", 1e3},
                                                   {"MB", 1e6},     {"GB", 1e9},        {"TB", 1e12},
                                                   {"KIB", 1024.0}, {"MIB", 1048576.0}, {"GIB", 1073741824.0}};
  auto const it = units.find(unit);
  if (number < 0 || it == units.end())
    fail(ExitCode::usage, "'{}' is not a value of '{}' (a size such as 512MB or 2GiB is needed)", text, setting);
  return static_cast<std::int64_t>(number * it->second);
}

}  // namespace retort
