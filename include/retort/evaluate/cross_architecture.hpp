// Whether a set teaches classifiers other than the head it was distilled for (scDD, table IV).
#pragma once

#include <functional>
#include <vector>

#include "retort/evaluate/judged_sets.hpp"
#include "retort/evaluate/results_table.hpp"

namespace retort {

// Collective: one row a set that has cells, of CellTypist's classifier (see CellTypist), one model a draw, scored on the real test
// cells. Models are trained by one rank each and tried by all ranks on their shares of the cells; the rows are equal on any number
// of ranks. `tick` is called after every draw.
std::vector<ResultRow> judge_by_celltypist(Communicator const& ranks, Ground const& ground, std::vector<JudgedSet> const& sets, std::function<void()> const& tick);

}  // namespace retort
