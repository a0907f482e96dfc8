// All audits of the sets that were judged: what they give away of real cells, and what they keep of them.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

#include "retort/evaluate/judged_sets.hpp"
#include "retort/evaluate/results_table.hpp"

namespace retort {

// Collective: draw 0 of every set (one rank audits a set), then what `rows` (of heads) and those of `others` say. On
// rank 0, else null:
// {"sets": [{"set", "variant", "matching", "spc"} + audit_membership + audit_sparsity + "differential_expression":
// audit_marker_genes], "members", "non_members", "smallest_real_value", "rare_classes", "paired_tests"}. A set of
// features has its membership alone. The same on any number of ranks.
nlohmann::json audit(Session const& session, EvaluationData const& data, std::vector<JudgedSet> const& sets,
                     HeadOptions const& head, std::vector<ResultRow> const& rows,
                     std::vector<JudgedRows> const& others);

// {"train_cells": {class: n}, "rows": [{"set", "recall": {class: per cent, null without test cells}}]}: classes of at
// most ten train cells, and the three rarest of those with test cells.
nlohmann::json rare_class_recall(std::vector<ResultRow> const& rows, RowsByClass const& train,
                                 std::vector<std::string> const& names);

// One line a set with the headline columns, and which classes of distilled sets leak.
std::string table_of_audits(nlohmann::json const& audits);

}  // namespace retort
