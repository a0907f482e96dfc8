#include "retort/generate/size_factors.hpp"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "retort/cells/libraries.hpp"
#include "retort/ranks/share.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

SizeFactors::LogNormal fit(std::vector<double> const& logs) {
  if (logs.empty()) return {};
  double sum = 0, squares = 0;
  for (double const log : logs) sum += log;
  double const mean = sum / static_cast<double>(logs.size());
  for (double const log : logs) squares += (log - mean) * (log - mean);
  return {mean, std::sqrt(squares / static_cast<double>(logs.size())), std::ssize(logs)};
}

}  // namespace

double SizeFactors::draw(std::int64_t c, std::uint64_t seed, std::int64_t row) const {
  auto const& from = c < 0 ? of_all : of_class[index(c)];
  return std::exp(from.mean +
                  from.deviation * Random(seed, purpose::size_factor, static_cast<std::uint64_t>(row)).normal());
}

SizeFactors size_factors(Communicator const& ranks, Atlas const& atlas, std::span<std::int64_t const> rows,
                         std::span<std::int32_t const> codes, std::int64_t classes,
                         std::span<std::int64_t const> group_of) {
  constexpr std::int64_t rows_at_once = 1024;
  auto const own = share_of(std::ssize(rows), ranks.rank(), ranks.size());
  std::vector<double> logs;  // of own rows, then of all
  ranks.together([&] {
    for (auto begin = own.begin; begin < own.end; begin += rows_at_once) {
      auto const block = atlas.read(rows.subspan(index(begin), index(std::min(rows_at_once, own.end - begin))));
      for (double const library : libraries(block)) logs.push_back(std::log(std::max(library, 1.0)));
    }
  });
  logs = ranks.gather(std::span<double const>(logs));
  SizeFactors factors{{}, fit(logs)};
  std::vector<std::vector<double>> of_class(index(classes));
  std::map<std::int64_t, std::vector<double>> of_group;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    auto const c = index(codes[index(rows[i])]);
    of_class[c].push_back(logs[i]);
    if (!group_of.empty()) of_group[group_of[c]].push_back(logs[i]);
  }
  for (std::size_t c = 0; c < of_class.size(); ++c) {
    auto const group = group_of.empty() ? of_group.end() : of_group.find(group_of[c]);
    factors.of_class.push_back(!of_class[c].empty()      ? fit(of_class[c])
                               : group != of_group.end() ? fit(group->second)
                                                         : factors.of_all);
  }
  return factors;
}

nlohmann::json json_of(SizeFactors const& factors) {
  auto const one = [](SizeFactors::LogNormal const& fit) {
    return nlohmann::json::array({fit.mean, fit.deviation, fit.cells});
  };
  auto classes = nlohmann::json::array();
  for (auto const& fit : factors.of_class) classes.push_back(one(fit));
  return {{"classes", classes}, {"all", one(factors.of_all)}};
}

SizeFactors size_factors_of(nlohmann::json const& json, std::int64_t classes, std::string const& source) {
  try {
    auto const one = [&](nlohmann::json const& values) {
      SizeFactors::LogNormal const fit{values.at(0), values.at(1), values.at(2)};
      constexpr double largest_log = 50;
      if (!(std::abs(fit.mean) < largest_log && fit.deviation >= 0 && fit.deviation < largest_log))
        fail(ExitCode::bad_input, "'{}' has size factors that cannot be (they are damaged). Train it again", source);
      return fit;
    };
    SizeFactors factors;
    for (auto const& values : json.at("classes")) factors.of_class.push_back(one(values));
    factors.of_all = one(json.at("all"));
    if (std::ssize(factors.of_class) != classes)
      fail(ExitCode::bad_input, "'{}' has size factors of {} classes (it has {}). Train it again", source,
           factors.of_class.size(), classes);
    return factors;
  } catch (nlohmann::json::exception const& fault) {
    fail(ExitCode::bad_input, "'{}' has no size factors ({}). Train it again", source, fault.what());
  }
}

}  // namespace retort
