#include "retort/distill/real_features.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

std::vector<std::vector<std::int64_t>> fit_rows_by_class(Labels const& labels, std::vector<Part> const& parts) {
  std::vector<std::vector<std::int64_t>> rows(labels.names.size());
  for (std::size_t row = 0; row < parts.size(); ++row)
    if (parts[row] == Part::fit) rows[index(labels.codes[row])].push_back(static_cast<std::int64_t>(row));
  for (std::size_t c = 0; c < rows.size(); ++c)
    if (rows[c].empty())
      fail(ExitCode::bad_input,
           "class '{}' of column '{}' has no cell in the fit part of the atlas (nothing could stand for it). Remove "
           "its cells or label them otherwise",
           labels.names[c], labels.column);
  return rows;
}

void draw_to_front(std::vector<std::int64_t>& rows, std::size_t taken, Random& random) {
  for (std::size_t i = 0; i < taken; ++i) std::swap(rows[i], rows[i + random.below(rows.size() - i)]);
}

RealFeatures::RealFeatures(Read const& read, std::int64_t width,
                           std::vector<std::vector<std::int64_t>> const& rows_by_class, ShardPlan const& plan,
                           double scale)
    : width_(width), first_shard_(plan.begin()) {
  for (auto const& rows : rows_by_class) counts_.push_back(static_cast<std::int64_t>(rows.size()));
  for (int shard = plan.begin(); shard < plan.end(); ++shard) {
    std::vector<std::int64_t> wanted;
    Slice slice{{}, {0}};
    for (auto const& rows : rows_by_class) {
      RowRange const share = share_of(static_cast<std::int64_t>(rows.size()), shard, plan.shards());
      wanted.insert(wanted.end(), rows.begin() + share.begin, rows.begin() + share.end);
      slice.class_begin.push_back(static_cast<std::int64_t>(wanted.size()));
    }
    slice.values = at::ones({slice.class_begin.back(), width_ + 1}, at::kFloat);
    if (!wanted.empty()) slice.values.narrow(1, 0, width_).copy_(read(wanted) * scale);
    slices_.push_back(std::move(slice));
  }
}

at::Tensor class_means(Communicator const& ranks, ShardPlan const& plan, RealFeatures const& real, double scale) {
  std::int64_t const classes = real.classes(), width = real.width();
  auto const sums = ordered_sum<double>(ranks, plan, classes * width, [&](int shard) {
    auto const& slice = real.slice(shard);
    std::vector<double> sum(index(classes * width), 0.0);
    float const* values = slice.values.const_data_ptr<float>();
    for (std::size_t c = 0; c < index(classes); ++c)
      for (std::int64_t row = slice.class_begin[c]; row < slice.class_begin[c + 1]; ++row)
        for (std::int64_t j = 0; j < width; ++j) sum[c * index(width) + index(j)] += values[row * (width + 1) + j];
    return sum;
  });
  at::Tensor means = at::empty({classes, width}, at::kFloat);
  float* out = means.data_ptr<float>();
  for (std::size_t i = 0; i < sums.size(); ++i)
    out[i] = static_cast<float>(sums[i] / (static_cast<double>(real.counts()[i / index(width)]) * scale));
  return means;
}

}  // namespace retort
