// Numbers of results.json and generation.json, which may be missing, and how a page shows them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace retort {

// NaN where `object` is none, has no such key, or has no number there.
double number_in(nlohmann::json const& object, std::string const& key);

// A dash for what is not finite.
std::string fixed(double value, int digits);

// "0.53 (0.49–0.57)", with `between` for the line: an audit's area under the curve of `attack` and its interval, where it has one.
std::string area_of(nlohmann::json const& audit, std::string const& attack, std::string const& between);

}  // namespace retort
