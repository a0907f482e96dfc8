#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "retort/report/html.hpp"
#include "retort/report/plot.hpp"
#include "retort/report/sections.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

constexpr std::size_t few = 4;  // an object of more entries than this is folded away

std::string words_of(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
  return key;
}

std::string text_of(nlohmann::json const& value) {
  if (value.is_null()) return "–";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number()) return short_number(value.get<double>());
  return json_text(value);
}

// Entries of an object, those of small objects inside it too ("zero proportion real"); what is larger goes to `deep`.
void flatten(nlohmann::json const& object, std::string const& before, std::vector<std::pair<std::string, std::string>>& flat, std::vector<std::pair<std::string, nlohmann::json>>& deep) {
  for (auto const& [key, value] : object.items()) {
    std::string const name = before.empty() ? words_of(key) : before + " " + words_of(key);
    bool const is_small = value.is_object() && value.size() <= few;
    if (is_small) flatten(value, name, flat, deep);
    else if (value.is_object() || (value.is_array() && !value.empty() && value[0].is_structured())) deep.emplace_back(name, value);
    else flat.emplace_back(name, text_of(value));
  }
}

// What names an element stands in the first columns.
bool is_name(std::string const& key) { return key == "set" || key == "class" || key == "variant" || key == "matching"; }

std::string table_of(nlohmann::json const& value) {
  nlohmann::json const list = value.is_array() ? value : nlohmann::json::array({value});
  std::vector<std::string> columns;
  std::vector<std::vector<std::pair<std::string, std::string>>> elements;
  std::string more;
  for (auto const& element : list) {
    std::vector<std::pair<std::string, std::string>> flat;
    std::vector<std::pair<std::string, nlohmann::json>> deep;
    flatten(element.is_object() ? element : nlohmann::json{{"value", element}}, "", flat, deep);
    for (auto const& [name, text] : flat)
      if (std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
    for (auto const& [name, inner] : deep) {
      std::string const whose = element.is_object() && element.contains("set") ? ", " + text_of(element["set"]) : "";
      more += folded(name + whose, table_of(inner));
    }
    elements.push_back(std::move(flat));
  }
  std::stable_partition(columns.begin(), columns.end(), is_name);
  auto const words = static_cast<std::size_t>(std::count_if(columns.begin(), columns.end(), is_name));
  // One element of many entries reads better downwards.
  Table table{columns, {}, words};
  if (elements.size() == 1 && words == 0) {
    table = {{"", ""}, {}, 1};
    for (auto const& [name, text] : elements[0]) table.rows.push_back({name, text});
  } else {
    for (auto const& element : elements) {
      std::vector<std::string> row;
      for (auto const& column : columns) {
        auto const found = std::find_if(element.begin(), element.end(), [&](auto const& one) { return one.first == column; });
        row.push_back(found == element.end() ? "–" : found->second);
      }
      table.rows.push_back(std::move(row));
    }
  }
  return (table.rows.empty() || columns.empty() ? "" : html_of(table)) + more;
}

std::string caption_of(std::string const& key) {
  if (key == "sets")
    return "What each distilled set gives away and how it looks: a membership AUC of 50 % (0.5) says that nobody can tell from the set which cells it was made of; zeros and library sizes near those of real cells are good.";
  if (key == "rare_classes") return "Classes with few cells, in which averages hide failures; good is a recall near that of all train cells.";
  if (key == "paired") return "Differences between kinds of sets, draw by draw; good is a difference whose interval leaves out zero.";
  return "As retort-evaluate wrote it.";
}

}  // namespace

std::string audits_section(FinishedRun const& run) {
  if (!run.results.contains("audits") || !run.results["audits"].is_object()) return "";
  std::string html;
  for (auto const& [key, value] : run.results["audits"].items())
    if (auto const table = value.is_structured() && !value.empty() ? table_of(value) : ""; !table.empty()) html += section("Audit: " + words_of(key), caption_of(key), table);
  return html;
}

}  // namespace retort
