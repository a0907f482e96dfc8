#include "retort/evaluate/cross_architecture.hpp"

#include <ATen/ATen.h>

#include <optional>
#include <span>
#include <tuple>

#include "retort/evaluate/celltypist.hpp"

namespace retort {
namespace {

void spread(Communicator const& ranks, CellTypist& model, int owner) {
  std::int64_t sizes[] = {model.genes, model.classes};
  ranks.broadcast(std::span<std::int64_t>(sizes), owner);
  std::tie(model.genes, model.classes) = std::pair(sizes[0], sizes[1]);
  model.weight.resize(static_cast<std::size_t>(model.genes * model.classes));
  model.bias.resize(static_cast<std::size_t>(model.classes));
  for (auto* values : {&model.mean, &model.scale}) values->resize(static_cast<std::size_t>(model.genes));
  for (auto* values : {&model.weight, &model.bias, &model.mean, &model.scale}) ranks.broadcast(std::span(*values), owner);
}

}  // namespace

std::vector<ResultRow> judge_by_celltypist(Communicator const& ranks, Ground const& ground, std::vector<JudgedSet> const& sets, std::function<void()> const& tick) {
  RowRange const own = share_of(std::ssize(ground.test_rows), ranks.rank(), ranks.size());
  CsrBlock cells;
  ranks.together([&] { cells = ground.reader->read(std::span(ground.test_rows).subspan(static_cast<std::size_t>(own.begin), static_cast<std::size_t>(own.size()))); });

  // As many models at a time as there are ranks.
  std::vector<JudgedDraw const*> draws;
  for (auto const& set : sets)
    for (auto const& draw : set.draws) draws.push_back(&draw);
  std::vector<std::optional<HeadScores>> scores(draws.size());
  for (std::size_t first = 0; first < draws.size(); first += static_cast<std::size_t>(ranks.size())) {
    CellTypist model;
    ranks.together([&] {
      std::size_t const mine = first + static_cast<std::size_t>(ranks.rank());
      if (mine >= draws.size()) return;
      auto const set = draws[mine]->make();
      if (!set.features.defined()) model = train_celltypist(set.cells, set.labels, ground.labels.classes());
    });
    for (int owner = 0; owner < ranks.size() && first + static_cast<std::size_t>(owner) < draws.size(); ++owner) {
      CellTypist tried = ranks.rank() == owner ? model : CellTypist{};
      spread(ranks, tried, owner);
      tick();
      if (tried.genes == 0) continue;  // a set of features
      auto const predicted = ranks.gather(std::span<std::int64_t const>(predict(tried, cells)));
      scores[first + static_cast<std::size_t>(owner)] = HeadScores{{score(at::tensor(predicted, at::kLong), ground.test.labels, ground.labels.classes())}, {}};
    }
  }

  std::vector<ResultRow> rows;
  std::size_t next = 0;
  for (auto const& set : sets) {
    std::vector<HeadScores> of_set;
    for (std::size_t draw = 0; draw < set.draws.size(); ++draw)
      if (auto const& one = scores[next++]) of_set.push_back(*one);
    if (!of_set.empty()) rows.push_back(row_of(set.variant, set.matching, set.spc, of_set, 0));
  }
  add_headroom(rows);
  return rows;
}

}  // namespace retort
