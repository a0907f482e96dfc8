#include "retort/report/result_numbers.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace retort {

double number_in(nlohmann::json const& object, std::string const& key) {
  if (!object.is_object()) return std::nan("");
  auto const found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : std::nan("");
}

std::string fixed(double value, int digits) { return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "–"; }

std::string area_of(nlohmann::json const& audit, std::string const& attack, std::string const& between) {
  auto const area = fixed(number_in(audit, attack + "_auc"), 2);
  auto const interval = audit.value(attack + "_interval", nlohmann::json());
  bool const is_known = interval.is_array() && interval.size() == 2 && interval[0].is_number() && interval[1].is_number();
  return is_known ? fmt::format("{} ({:.2f}{}{:.2f})", area, interval[0].get<double>(), between, interval[1].get<double>()) : area;
}

}  // namespace retort
