// Taking over a model that SCimilarity trained (methods 1.2.2).
#pragma once

#include <filesystem>

#include "retort/models/foundation.hpp"

namespace retort {

// Reads encoder.ckpt, decoder.ckpt (torch zip pickles of {"state_dict": tensors}), gene_order.tsv and layer_sizes.json,
// which must agree.
// Not collective. Throws Failure(missing_input) or Failure(bad_input) naming the file.
Foundation import_scimilarity(std::filesystem::path const& folder);

}  // namespace retort
