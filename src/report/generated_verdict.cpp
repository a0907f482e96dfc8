#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "retort/drawing/html.hpp"
#include "retort/report/result_numbers.hpp"
#include "retort/report/sections.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

using nlohmann::json;

constexpr double zeros_that_matter = 0.02, library_that_matters = 0.1, told_apart = 0.65;

std::string kind_of(json const& row) { return row.value("kind", ""); }

bool is_prior(json const& row) { return kind_of(row) == "prior" || kind_of(row) == "standard prior"; }

// Nearer to the real test cells than what costs nothing.
std::string nearness_item(json const& row, std::vector<json> const& beside) {
  double const own = number_in(row, "w2");
  double prior = std::nan("");
  std::string text = fmt::format("W2 to the real test cells {}", fixed(own, 2));
  for (auto const& other : beside) {
    if (kind_of(other) == "floor") text += fmt::format("; of real train cells {}", fixed(number_in(other, "w2"), 2));
    if (is_prior(other)) prior = std::fmin(prior, number_in(other, "w2"));
  }
  if (std::isfinite(prior)) text += fmt::format("; of Gaussians fitted to each class, which cost nothing, {}", fixed(prior, 2));
  return verdict_item(std::isfinite(own) && !(own >= prior), "Near real cells?", text + ".");
}

std::string apart_item(json const& row) {
  double const share = number_in(row, "neighbour_accuracy");
  if (!std::isfinite(share)) return "";
  return verdict_item(share <= told_apart, "Can they be told apart?", fmt::format("By its nearest neighbour a cell is known as real or generated in {} % of cases (50 is a guess).", fixed(100 * share, 0)));
}

std::string looks_item(json const& row, json const& real) {
  double const zeros = number_in(row, "zeros"), real_zeros = number_in(real, "zeros"), library = number_in(row, "library"), real_library = number_in(real, "library");
  bool const is_good = std::abs(zeros - real_zeros) <= zeros_that_matter && !(std::abs(library / real_library - 1) > library_that_matters);
  std::string const sums = std::isfinite(library) && std::isfinite(real_library) ? fmt::format("; {} counts a cell, {} a real one", with_commas(std::llround(library)), with_commas(std::llround(real_library))) : "";
  return verdict_item(is_good, "Do they look like cells?", fmt::format("{} % of their values are zero, {} % of real cells'{}.", fixed(100 * zeros, 1), fixed(100 * real_zeros, 1), sums));
}

// The class that the set fits worst beside what real cells of it would.
std::string classes_item(json const& row, std::vector<json> const& beside, json const& names) {
  auto const of_class = [](json const& of) { return of.value("of_class", json::object()).value("w2", json::array()); };
  auto const floor = std::find_if(beside.begin(), beside.end(), [](json const& other) { return kind_of(other) == "floor"; });
  if (floor == beside.end()) return "";
  auto const own = of_class(row), real = of_class(*floor);
  std::size_t worst = 0;
  double highest = 0;
  for (std::size_t c = 0; c < std::min({own.size(), real.size(), names.size()}); ++c) {
    if (!own[c].is_number() || !real[c].is_number()) continue;
    if (double const ratio = own[c].get<double>() / real[c].get<double>(); ratio > highest) highest = ratio, worst = c;
  }
  if (highest == 0) return "";
  return verdict_item(highest <= 1.5, "Classes.", fmt::format("Farthest from its real cells is {}: W2 {}, of real train cells {}.", names[worst].get<std::string>(), fixed(own[worst].get<double>(), 2), fixed(real[worst].get<double>(), 2)));
}

}  // namespace

std::string generated_verdict_section(FinishedRun const& run) {
  auto const& generation = run.generation;
  if (!generation.is_object() || !generation.contains("rows") || !generation.contains("comparisons")) return "";
  std::string html;
  for (auto const& row : generation["rows"]) {
    if (kind_of(row) != "generated") continue;
    auto const place = row.value("comparison", std::size_t{0});
    std::vector<json> beside;
    for (auto const& other : generation["rows"])
      if (other.value("comparison", std::size_t{0}) == place) beside.push_back(other);
    html += fmt::format("<h3>{}</h3>\n", escape(row.value("set", ""))) +
            verdict_list(nearness_item(row, beside) + apart_item(row) + looks_item(row, generation["comparisons"].at(place).value("real", json::object())) + classes_item(row, beside, generation.value("classes", json::array())));
  }
  if (html.empty()) return "";
  return section("Are the generated cells good enough?",
                 fmt::format("What this page says of each generated set, in short. A tick: nearer to the real test cells than any Gaussian; told apart in at most {:.0f} % of cases; zeros within {:.0f} points and counts within {:.0f} % of real cells'; no class more than one and a half times as "
                             "far as real train cells. An exclamation mark: look closer.",
                             100 * told_apart, 100 * zeros_that_matter, 100 * library_that_matters),
                 html);
}

}  // namespace retort
