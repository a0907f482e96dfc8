#include "retort/evaluate/cross_architecture.hpp"

#include <ATen/ATen.h>

#include <optional>
#include <span>

#include "retort/evaluate/celltypist.hpp"
#include "retort/evaluate/logistic_regression.hpp"
#include "retort/models/regression_loss.hpp"
#include "retort/run/index.hpp"
#include "retort/run/stopwatch.hpp"

namespace retort {
namespace {

// A classifier of genes: the numbers that one rank learns from a set, and what any rank predicts with them.
struct Learner {
  std::function<std::vector<float>(DistilledSet const& set, std::uint64_t draw)> learn;
  std::function<std::vector<std::int64_t>(std::vector<float> const& learned, CsrBlock const& cells)> predict;
};

// This rank's share of the test cells.
CsrBlock own_test_cells(Communicator const& ranks, EvaluationData const& data) {
  RowRange const own = share_of(std::ssize(data.test_rows), ranks.rank(), ranks.size(), rows_of_a_prediction);
  CsrBlock cells;
  ranks.together(
      [&] { cells = data.reader->read(std::span(data.test_rows).subspan(index(own.begin), index(own.size()))); });
  return cells;
}

HeadScores scores_of(Communicator const& ranks, EvaluationData const& data,
                     std::vector<std::int64_t> const& own_predicted) {
  auto const predicted = ranks.gather(std::span(own_predicted));
  return {{score(at::tensor(predicted, at::kLong), data.test.labels, data.labels.classes())}, {}};
}

std::vector<ResultRow> judge(Communicator const& ranks, EvaluationData const& data, std::vector<JudgedSet> const& sets,
                             CsrBlock const& own_cells, Learner const& learner, std::function<void()> const& tick) {
  // As many models at a time as there are ranks.
  struct Place {
    JudgedDraw const* draw;
    std::uint64_t number;
  };
  std::vector<Place> draws;
  for (auto const& set : sets)
    for (std::size_t draw = 0; draw < set.draws.size(); ++draw) draws.push_back({&set.draws[draw], draw});
  std::vector<std::optional<HeadScores>> scores(draws.size());
  for (std::size_t first = 0; first < draws.size(); first += index(ranks.size())) {
    std::vector<float> learned;
    ranks.together([&] {
      std::size_t const mine = first + index(ranks.rank());
      if (mine >= draws.size()) return;
      auto const set = draws[mine].draw->make();
      if (!set.features.defined()) learned = learner.learn(set, draws[mine].number);
    });
    for (int owner = 0; owner < ranks.size() && first + index(owner) < draws.size(); ++owner) {
      auto tried = ranks.rank() == owner ? learned : std::vector<float>();
      auto size = std::ssize(tried);
      ranks.broadcast(std::span(&size, 1), owner);
      tried.resize(index(size));
      ranks.broadcast(std::span(tried), owner);
      tick();
      if (tried.empty()) continue;  // a set of features
      std::vector<std::int64_t> predicted;
      ranks.together([&] { predicted = learner.predict(tried, own_cells); });
      scores[first + index(owner)] = scores_of(ranks, data, predicted);
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
  return rows;
}

std::vector<float> numbers_of(CellTypist const& model) {
  std::vector<float> all;
  for (auto const* values : {&model.weight, &model.bias, &model.mean, &model.scale})
    all.insert(all.end(), values->begin(), values->end());
  return all;
}

CellTypist celltypist_of(std::vector<float> const& numbers, std::int64_t genes, std::int64_t classes) {
  CellTypist model{.genes = genes, .classes = classes, .weight = {}, .bias = {}, .mean = {}, .scale = {}};
  auto next = numbers.begin();
  auto const take = [&next](std::vector<float>& into, std::int64_t count) {
    into.assign(next, next + count);
    next += count;
  };
  take(model.weight, genes * classes);
  take(model.bias, classes);
  take(model.mean, genes);
  take(model.scale, genes);
  return model;
}

}  // namespace

std::vector<ResultRow> judge_by_celltypist(Communicator const& ranks, EvaluationData const& data,
                                           std::vector<JudgedSet> const& sets, std::function<void()> const& tick) {
  auto const classes = data.labels.classes();
  Learner const learner{[&](DistilledSet const& set, std::uint64_t) {
                          return numbers_of(train_celltypist(set.cells, set.labels, classes));
                        },
                        [&](std::vector<float> const& learned, CsrBlock const& cells) {
                          return predict(celltypist_of(learned, cells.genes, classes), cells);
                        }};
  auto rows = judge(ranks, data, sets, own_test_cells(ranks, data), learner, tick);
  add_headroom(rows);
  return rows;
}

std::vector<ResultRow> judge_by_logistic_regression(Communicator const& ranks, EvaluationData const& data,
                                                    std::vector<JudgedSet> const& sets,
                                                    std::function<void()> const& tick) {
  auto const classes = index(data.labels.classes());
  Learner const learner{[&](DistilledSet const& set, std::uint64_t) {
                          auto model = train_logistic_regression(set.cells, set.labels, data.labels.classes());
                          model.weight.insert(model.weight.end(), model.bias.begin(), model.bias.end());
                          return model.weight;
                        },
                        [&](std::vector<float> const& learned, CsrBlock const& cells) {
                          auto const numbers = std::span(learned);
                          return predict_classes(cells, numbers.first(numbers.size() - classes), numbers.last(classes));
                        }};
  auto rows = judge(ranks, data, sets, own_test_cells(ranks, data), learner, tick);
  add_headroom(rows);
  return rows;
}

std::vector<ResultRow> judge_by_student(Communicator const& ranks, ShardPlan const& plan, EvaluationData const& data,
                                        std::vector<JudgedSet> const& sets, MakeStudent const& make,
                                        TeachingOptions const& options, std::uint64_t seed, bool full,
                                        std::function<void()> const& tick) {
  Communicator const alone = Communicator::serial();
  ShardPlan const undivided(1, 0, 1);
  Learner const learner{[&](DistilledSet const& set, std::uint64_t draw) {
                          auto const student = make(draw);
                          teach(alone, undivided, *student,
                                teaching_cells(set.cells, set.labels, data.labels.classes()), options, seed, draw);
                          return student->weights();
                        },
                        [&](std::vector<float> const& learned, CsrBlock const& cells) {
                          auto const student = make(0);
                          student->set_weights(learned);
                          return predict(*student, cells);
                        }};
  auto const cells = own_test_cells(ranks, data);
  std::vector<ResultRow> rows;
  if (full) {
    Stopwatch const watch;
    auto const student = make(0);
    teach(ranks, plan, *student,
          {data.train, [&](std::span<std::int64_t const> some) { return data.reader->read(some); }}, options, seed, 0);
    std::vector<std::int64_t> predicted;
    ranks.together([&] { predicted = predict(*student, cells); });
    rows.push_back(row_of("full", "", 0, {scores_of(ranks, data, predicted)}, watch.seconds()));
    tick();
  }
  auto const of_sets = judge(ranks, data, sets, cells, learner, tick);
  rows.insert(rows.end(), of_sets.begin(), of_sets.end());
  add_headroom(rows);
  return rows;
}

}  // namespace retort
