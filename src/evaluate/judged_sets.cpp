#include "retort/evaluate/judged_sets.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "retort/ranks/device.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/stopwatch.hpp"

namespace retort {

void add_baselines(Session const& session, EvaluationData const& data, std::vector<std::string> const& rows,
                   std::int64_t random_draws, std::int64_t spc, std::vector<JudgedSet>& sets) {
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  auto const genes = data.foundation->shape().genes;
  ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
  ReadRows const read = [&data](RowRange range) { return data.reader->read(range.begin, range.end); };
  auto const wanted = [&](char const* row) { return std::find(rows.begin(), rows.end(), row) != rows.end(); };
  auto const real_cells = [read, genes](ChosenRows const& chosen) {
    return [read, genes, chosen] {
      return DistilledSet{dense_rows(read, chosen.rows, genes), at::tensor(chosen.labels, at::kLong)};
    };
  };
  auto const means = [&](std::vector<std::int64_t> const& groups, std::vector<std::int64_t> const& of_row,
                         std::vector<std::int64_t> const& labels) {
    auto const count = static_cast<std::int64_t>(labels.size());
    auto const cells =
        group_means(session.ranks, plan, read, groups, count, genes).index_select(0, at::tensor(of_row, at::kLong));
    return [cells, labels] { return DistilledSet{cells, at::tensor(labels, at::kLong)}; };
  };

  if (wanted("random")) {
    JudgedSet random{"random", "", spc, {}};
    for (std::int64_t draw = 0; draw < random_draws; ++draw)
      random.draws.push_back({real_cells(random_rows(data.train, spc, seed, static_cast<std::uint64_t>(draw))), 0, {}});
    sets.push_back(std::move(random));
  }
  // At one cell a class k-means has one centroid, the mean, so the cell nearest it is the medoid.
  if (spc == 1) {
    Stopwatch const watch;
    auto const medoids = medoid_rows(data.train, data.features);
    double const seconds = watch.seconds();
    if (wanted("medoid")) sets.push_back({"medoid", "", spc, {{real_cells(medoids), seconds, {}}}});
    if (wanted("class_mean")) {
      Stopwatch const mean_watch;
      std::vector<std::int64_t> groups(index(data.atlas->cells()), -1), of_row;
      for (std::size_t i = 0; i < medoids.labels.size(); ++i) {
        for (auto const row : data.train[index(medoids.labels[i])]) groups[index(row)] = static_cast<std::int64_t>(i);
        of_row.push_back(static_cast<std::int64_t>(i));
      }
      auto make = means(groups, of_row, medoids.labels);
      sets.push_back({"class_mean", "", spc, {{std::move(make), mean_watch.seconds(), {}}}});
    }
  } else if (wanted("kmeans") || wanted("kmeans_mean")) {
    Stopwatch const watch;
    auto const clustered = kmeans_rows(session.ranks, data.train, data.features, spc, seed);
    if (wanted("kmeans")) sets.push_back({"kmeans", "", spc, {{real_cells(clustered.nearest), watch.seconds(), {}}}});
    if (wanted("kmeans_mean")) {
      auto make = means(clustered.groups, clustered.group_of_row, clustered.nearest.labels);
      sets.push_back({"kmeans_mean", "", spc, {{std::move(make), watch.seconds(), {}}}});
    }
  }
}

void encode_sets(Session const& session, Foundation& foundation, std::vector<JudgedSet>& sets) {
  auto const device = choose_device(session.ranks, session.run.device);
  foundation.to(device);
  std::vector<JudgedDraw*> draws;
  for (auto& set : sets)
    for (auto& draw : set.draws) draws.push_back(&draw);
  auto const ranks = index(session.ranks.size());
  session.ranks.together([&] {
    at::NoGradGuard no_graph;
    for (std::size_t i = index(session.ranks.rank()); i < draws.size(); i += ranks) {
      auto const made = draws[i]->make();
      if (made.features.defined() && made.features.size(1) != foundation.shape().latent)
        fail(ExitCode::bad_input,
             "a distilled set has features of width {} (the foundation model's have {}). Distil it again from this run",
             made.features.size(1), foundation.shape().latent);
      draws[i]->set = {
          made.features.defined() ? made.features : foundation.encode(made.cells.to(device)).cpu().contiguous(),
          made.labels};
    }
  });
  auto const width = foundation.shape().latent;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    auto const owner = static_cast<int>(i % ranks);
    auto& set = draws[i]->set;
    std::int64_t rows = session.ranks.rank() == owner ? set.labels.size(0) : 0;
    session.ranks.broadcast(std::span(&rows, 1), owner);
    if (session.ranks.rank() != owner) set = {at::empty({rows, width}, at::kFloat), at::empty({rows}, at::kLong)};
    session.ranks.broadcast(std::span(set.labels.data_ptr<std::int64_t>(), index(rows)), owner);
    session.ranks.broadcast(std::span(set.features.data_ptr<float>(), index(rows * width)), owner);
  }
}

}  // namespace retort
