#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "retort/report/html.hpp"
#include "retort/report/plot.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

using nlohmann::json;

constexpr std::size_t few = 4;   // an object of more entries than this is folded away
constexpr std::size_t many = 9;  // a table of more columns than this, and of fewer rows, reads better downwards

std::string words_of(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
  return key;
}

bool is_text(json const& value) {
  return value.is_string() || (value.is_array() && !value.empty() && value[0].is_string());
}
bool is_deep(json const& value) {
  return value.is_object() || (value.is_array() && !value.empty() && value[0].is_structured());
}

std::string text_of(json const& value) {
  if (value.is_null()) return "–";
  if (value.is_string()) return value.get<std::string>().empty() ? "–" : value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number()) return short_number(value.get<double>());
  bool const is_interval = value.size() == 2 && value[0].is_number() && value[1].is_number();
  std::string text;
  for (auto const& element : value) text += (text.empty() ? "" : is_interval ? " … " : ", ") + text_of(element);
  return text.empty() ? "none" : text;
}

// Entries of an object, those of small objects inside it too ("zero proportion real"); what is larger goes to `deep`.
struct Flat {
  std::vector<std::pair<std::string, json>> values, deep;
};
void flatten(json const& object, std::string const& before, Flat& flat) {
  for (auto const& [key, value] : object.items()) {
    std::string const name = before.empty() ? words_of(key) : before + " " + words_of(key);
    if (value.is_object() && value.size() <= few)
      flatten(value, name, flat);
    else
      (is_deep(value) ? flat.deep : flat.values).emplace_back(name, value);
  }
}

json const* found(std::vector<std::pair<std::string, json>> const& values, std::string const& name) {
  auto const one = std::find_if(values.begin(), values.end(), [&](auto const& pair) { return pair.first == name; });
  return one == values.end() ? nullptr : &one->second;
}

// Names of all elements' entries, each once: what names an element first, then other words, then numbers.
std::vector<std::string> columns_of(std::vector<Flat> const& elements, bool deep) {
  std::vector<std::string> columns;
  for (auto const& element : elements)
    for (auto const& [name, value] : deep ? element.deep : element.values)
      if (std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
  constexpr std::array names{"set", "sets", "class", "variant", "matching", "classifier"};
  auto const place = [&](std::string const& column) {
    auto const named = std::find(names.begin(), names.end(), column) - names.begin();
    if (named < std::ssize(names)) return named;
    bool const words = std::any_of(elements.begin(), elements.end(), [&](auto const& element) {
      auto const* const value = found(element.values, column);
      return value && is_text(*value);
    });
    return words ? std::ssize(names) : std::ssize(names) + 1;
  };
  std::stable_sort(columns.begin(), columns.end(), [&](auto const& a, auto const& b) { return place(a) < place(b); });
  return columns;
}

std::string name_of(Flat const& element, std::size_t index) {
  for (char const* key : {"set", "sets", "class"})
    if (auto const* const value = found(element.values, key)) return text_of(*value);
  return std::to_string(index + 1);
}

// Rows become columns: for a few elements of many entries.
Table turned(Table const& table) {
  Table result{{""}, {}, 1};
  for (auto const& row : table.rows) result.header.push_back(row[0]);
  for (std::size_t column = 1; column < table.header.size(); ++column) {
    auto& row = result.rows.emplace_back(std::vector<std::string>{table.header[column]});
    for (auto const& element : table.rows) row.push_back(element[column]);
  }
  return result;
}

std::string table_of(json const& value) {
  json const list = value.is_array() ? value : json::array({value});
  std::vector<Flat> elements;
  for (auto const& element : list)
    flatten(element.is_object() ? element : json{{"value", element}}, "", elements.emplace_back());
  auto const columns = columns_of(elements, false);
  Table table{columns, {}, 0};
  for (auto const& column : columns)
    table.words += std::all_of(elements.begin(), elements.end(), [&](auto const& element) {
      auto const* const one = found(element.values, column);
      return !one || is_text(*one);
    });
  for (auto const& element : elements) {
    std::vector<std::string> row;
    for (auto const& column : columns) {
      auto const* const one = found(element.values, column);
      row.push_back(one ? text_of(*one) : "–");
    }
    table.rows.push_back(std::move(row));
  }
  std::string html;
  if (elements.size() == 1 && table.words == 0) {  // one element reads better downwards
    Table single{{"", ""}, {}, 1};
    for (std::size_t i = 0; i < columns.size(); ++i) single.rows.push_back({columns[i], table.rows[0][i]});
    if (!columns.empty()) html = html_of(single);
  } else if (!columns.empty()) {
    html = html_of(columns.size() > many && elements.size() < columns.size() ? turned(table) : table);
  }

  // What lies deeper, an entry a fold: side by side where every element has numbers by name, else one after the other.
  for (auto const& name : columns_of(elements, true)) {
    std::vector<std::pair<std::string, json>> inner;
    for (std::size_t i = 0; i < elements.size(); ++i)
      if (auto const* const one = found(elements[i].deep, name)) inner.emplace_back(name_of(elements[i], i), *one);
    bool const are_numbers = std::all_of(inner.begin(), inner.end(), [](auto const& one) {
      return one.second.is_object() &&
             std::none_of(one.second.begin(), one.second.end(), [](json const& entry) { return is_deep(entry); });
    });
    std::string body;
    if (are_numbers) {
      Table numbers{{""}, {}, 1};
      std::vector<std::string> keys;
      for (auto const& [set, values] : inner) {
        numbers.header.push_back(elements.size() > 1 ? set : "");
        for (auto const& [key, entry] : values.items())
          if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
      }
      for (auto const& key : keys) {
        auto& row = numbers.rows.emplace_back(std::vector<std::string>{key});
        for (auto const& [set, values] : inner) row.push_back(values.contains(key) ? text_of(values[key]) : "–");
      }
      body = html_of(numbers);
    } else {
      for (auto const& [set, values] : inner)
        body += (inner.size() > 1 ? "<h3>" + escape(set) + "</h3>" : "") + table_of(values);
    }
    html += name == "rows" ? body : folded(name, body);
  }
  return html;
}

std::string classes_in(json const& set, char const* key) { return set.contains(key) ? text_of(set[key]) : "–"; }

// A row per set; every number of the audit folded below.
std::string sets_of(FinishedRun const& run, json const& sets) {
  Table leaks{{"set", "AUC by distance (95 %)", "AUC by confidence (95 %)", "classes that leak",
               "AUC by cells alone (95 %)", "classes that leak by cells alone", "copies"},
              {},
              1};
  Table looks{{"set", "zeros (%)", "zeros, real cells (%)", "genes detected", "genes detected, real cells",
               "cells within the real range (%)", "variation of genes", "variation, real cells", "top 50 genes (%)",
               "fold changes (ρ)"},
              {},
              1};
  for (auto const& set : sets) {
    if (!set.is_object()) continue;
    auto const part = [&](char const* audit, char const* key, double times, int digits) {
      return fixed(times * number_in(set.value(audit, json()), key), digits);
    };
    std::string const name = (is_of_product(run, set) ? "*" : "") + set.value("set", "");
    leaks.rows.push_back({name, area_of(set, "membership", "–"), area_of(set, "confidence", "–"),
                          classes_in(set, "leaks"), area_of(set, "expression", "–"),
                          classes_in(set, "expression_leaks"), fixed(number_in(set, "copies"), 0)});
    looks.rows.push_back({name, part("zero_proportion", "distilled", 100, 1), part("zero_proportion", "real", 100, 1),
                          part("detected_genes", "distilled", 1, 0), part("detected_genes", "real", 1, 0),
                          part("detected_genes", "inside", 100, 0), part("coefficient_of_variation", "distilled", 1, 2),
                          part("coefficient_of_variation", "real", 1, 2),
                          part("differential_expression", "precision_at_50", 100, 0),
                          part("differential_expression", "fold_spearman", 1, 2)});
  }
  if (leaks.rows.empty()) return "";
  return section(texts::leaks.title, texts::leaks.caption, html_of(leaks)) +
         section(texts::looks.title, texts::looks.caption,
                 html_of(looks) + folded(texts::all_of_audit, table_of(sets)));
}

// A column per class.
std::string rare_of(FinishedRun const& run, json const& audit) {
  auto const cells = audit.value("train_cells", json());
  auto const rows = audit.value("rows", json());
  if (!cells.is_object() || cells.empty() || !rows.is_array()) return "";
  Table table{{"set"}, {}, 1};
  for (auto const& [name, count] : cells.items())
    table.header.push_back(fmt::format("{} ({} train cells)", name, text_of(count)));
  for (auto const& row : rows) {
    auto const set = row.value("set", "");
    bool const is_product =
        run.product && set == fmt::format("{}-{}-spc{}", run.product->variant, run.product->matching, run.product->spc);
    auto& texts = table.rows.emplace_back(
        std::vector<std::string>{(is_product ? "*" : "") + (set == "full" ? "all train cells" : set)});
    for (auto const& [name, count] : cells.items())
      texts.push_back(fixed(number_in(row.value("recall", json()), name), 1));
  }
  return section(texts::rare_classes.title, texts::rare_classes.caption, html_of(table));
}

}  // namespace

std::string audits_section(FinishedRun const& run) {
  if (!run.results.contains("audits") || !run.results["audits"].is_object()) return "";
  std::string html;
  for (auto const& [key, value] : run.results["audits"].items()) {
    std::string told;
    if (key == "sets" && value.is_array()) told = sets_of(run, value);
    if (key == "rare_classes" && value.is_object()) told = rare_of(run, value);
    if (told.empty())
      if (auto const table = value.is_structured() && !value.empty() ? table_of(value) : ""; !table.empty())
        told = section(fmt::format(texts::audit, words_of(key)),
                       key.starts_with("paired") ? texts::paired_audit : texts::other_audit, table);
    html += told;
  }
  return html;
}

}  // namespace retort
