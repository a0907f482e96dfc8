// What evaluation stands on: the real cells, their features and labels, read once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "retort/cells/atlas.hpp"
#include "retort/evaluate/baselines.hpp"
#include "retort/evaluate/protocol.hpp"
#include "retort/models/foundation.hpp"
#include "retort/models/gene_alignment.hpp"

namespace retort {

struct EvaluationData {
  std::unique_ptr<Atlas> atlas;
  std::unique_ptr<Foundation> foundation;
  std::unique_ptr<AlignedReader> reader;
  Labels labels;
  at::Tensor features;  // [cells, width]
  RowsByClass train;
  LabelledFeatures all_train, held_out, test;
  std::vector<std::int64_t> test_rows;  // of the atlas, in order; those of `test`
  std::int64_t fit_cells = 0;
};

// Throws Failure(bad_input) where atlas, features and foundation model do not belong together, or no cell is a test
// cell. Not collective.
EvaluationData open_evaluation_data(std::filesystem::path const& atlas, std::filesystem::path const& features,
                                    std::filesystem::path const& foundation, std::string const& label);

}  // namespace retort
