// Whether a set teaches classifiers other than the head it was distilled for (scDD, table IV).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "retort/evaluate/judged_sets.hpp"
#include "retort/evaluate/results_table.hpp"
#include "retort/evaluate/teaching.hpp"

namespace retort {

// Collective: one row a set that has cells, of CellTypist's classifier (see CellTypist), one model a draw, scored on
// the real test cells. Models are trained by one rank each and tried by all ranks on their shares of the cells; the
// rows are equal on any number of ranks. `tick` is called after every draw.
std::vector<ResultRow> judge_by_celltypist(Communicator const& ranks, EvaluationData const& data,
                                           std::vector<JudgedSet> const& sets, std::function<void()> const& tick);

// Collective: the same of logistic regression without scaling (see LogisticRegression).
std::vector<ResultRow> judge_by_logistic_regression(Communicator const& ranks, EvaluationData const& data,
                                                    std::vector<JudgedSet> const& sets,
                                                    std::function<void()> const& tick);

// A fresh network `number` of the run's seed.
using MakeStudent = std::function<std::unique_ptr<Student>(std::uint64_t number)>;

// Collective: the same of networks, one a draw. With `full`, a row of one that all ranks taught together with all train
// cells comes first, by as many steps as the others.
std::vector<ResultRow> judge_by_student(Communicator const& ranks, ShardPlan const& plan, EvaluationData const& data,
                                        std::vector<JudgedSet> const& sets, MakeStudent const& make,
                                        TeachingOptions const& options, std::uint64_t seed, bool full,
                                        std::function<void()> const& tick);

}  // namespace retort
