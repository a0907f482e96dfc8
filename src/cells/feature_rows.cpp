#include "retort/cells/feature_rows.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "retort/cells/feature_file.hpp"
#include "retort/run/error.hpp"

namespace retort {

at::Tensor read_feature_rows(std::filesystem::path const& file, std::span<std::int64_t const> rows) {
  constexpr std::int64_t block = 16384;
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rows[a] < rows[b]; });
  at::Tensor result;
  for (std::size_t i = 0; i < order.size();) {
    std::int64_t const begin = rows[order[i]];
    std::size_t last = i;  // rows that lie within one block of the first are read together
    while (last + 1 < order.size() && rows[order[last + 1]] < begin + block) ++last;
    Features const read = read_features(file, {begin, rows[order[last]] + 1});
    if (!result.defined()) result = at::empty({static_cast<std::int64_t>(rows.size()), read.width}, at::kFloat);
    for (; i <= last; ++i) {
      float const* const from = read.values.data() + (rows[order[i]] - begin) * read.width;
      if (float const* const bad =
              std::find_if_not(from, from + read.width, [](float value) { return std::isfinite(value); });
          bad != from + read.width)
        fail(
            ExitCode::bad_input,
            "'{}': feature {} of row {} is {} (no finite number, so nothing can be trained on it). Make the file again",
            file.string(), bad - from, rows[order[i]], *bad);
      std::copy_n(from, read.width, result.data_ptr<float>() + static_cast<std::int64_t>(order[i]) * read.width);
    }
  }
  return result;
}

}  // namespace retort
