// How large the libraries of a class's cells are: what a generated cell's sum of counts is drawn from (methods 3.5).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/ranks/communicator.hpp"

namespace retort {

// Normal distributions of the natural logarithm of sums of counts; deviations over n, not n - 1.
struct SizeFactors {
  struct LogNormal {
    double mean = 0, deviation = 0;
    std::int64_t cells = 0;  // it was taken from
  };
  std::vector<LogNormal>
      of_class;  // classes without cells have that of their group or of all cells: never a library of one count
  LogNormal of_all;

  // The library of generated cell `row`, of class `c`, or of any where c is below 0: from the stream (seed,
  // purpose::size_factor, row).
  double draw(std::int64_t c, std::uint64_t seed, std::int64_t row) const;
};

// Collective: each rank reads a share of `rows`; the same bits on any number of ranks. `codes`: a class of each row of
// the atlas, in 0 .. classes - 1. `group_of`, where given, names a group of each class: a class without cells has the
// sizes of its group's cells, where there are any.
SizeFactors size_factors(Communicator const& ranks, Atlas const& atlas, std::span<std::int64_t const> rows,
                         std::span<std::int32_t const> codes, std::int64_t classes,
                         std::span<std::int64_t const> group_of = {});

// Kept in the generator's config.json. size_factors_of throws Failure(bad_input) where it is none, or has another
// number of classes; `source` for messages.
nlohmann::json json_of(SizeFactors const& factors);
SizeFactors size_factors_of(nlohmann::json const& json, std::int64_t classes, std::string const& source);

}  // namespace retort
