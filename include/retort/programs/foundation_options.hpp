// Section [foundation]: how the encoder and decoder are trained.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "retort/cells/batch_stream.hpp"
#include "retort/models/foundation.hpp"
#include "retort/models/foundation_training.hpp"
#include "retort/run/option_table.hpp"
#include "retort/training/flat_adamw.hpp"

namespace retort {

struct FoundationOptions {
  std::string atlas, model, import, label;
  FoundationShape shape;
  FoundationLoss loss;
  std::string mining = "batch_hard";
  BatchOrder order;        // its batch is the global one
  std::int64_t steps = 0;  // 0: steps_for
  double rate = 1e-3;
  double warm_up_share = 0.05;
  double largest_norm = 0;  // 0: no clipping
  AdamwSettings adamw;

  // The steps that `steps` 0 stands for: 75,000 cells, and three epochs of a larger atlas.
  std::int64_t steps_for(std::int64_t fit_cells) const;
  // Throws Failure(usage) where settings do not make sense, and fills loss.mining.
  void check();
};

void add_foundation_options(OptionTable& table, FoundationOptions& options);

}  // namespace retort
